"""What a refusal is, and how the rules are numbered in each room version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from homeserver.core.room_versions import RoomRules


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event is not authorised.

    `rule` is the room version and the rule's number in that version's text ("v11 4.3.2"), `reason` a sentence
    for people, which names the users and levels involved.
    """

    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} (rule {self.rule})"


@dataclass(frozen=True, slots=True)
class RuleNumbers:
    """The numbers of the rules in one room version's text. The versions added and removed rules, so they
    move.

    Rules that a version does not have keep an empty number and are never refused by.
    """

    version: str
    room_id: str
    auth_events: str
    federate: str
    aliases: str
    member: str
    authorised_join: str
    join: str
    invite: str
    leave: str
    ban: str
    knock: str
    unknown_membership: str
    sender_joined: str
    third_party_invite: str
    required_level: str
    user_state_key: str
    power_levels: str
    redaction: str

    def refuse(self, number: str, reason: str) -> Refusal:
        """A refusal by the rule with this number."""
        return Refusal(f"v{self.version} {number}", reason)


@cache
def rule_numbers(rules: RoomRules) -> RuleNumbers:
    """The numbers of the rules in this room version, counted as its text does.

    Spec: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules and the same section of each version.
    """
    # Rule 1 is m.room.create in every version; within m.room.member, 1 is about its form.
    numbers = _count(
        "",
        {
            "room_id": rules.room_id_is_create_hash,
            "auth_events": True,
            "federate": True,
            "aliases": rules.alias_events_auth,
            "member": True,
            "sender_joined": True,
            "third_party_invite": True,
            "required_level": True,
            "user_state_key": True,
            "power_levels": True,
            "redaction": rules.redaction_auth_in_events,
        },
    )
    memberships = _count(
        numbers["member"] + ".",
        {
            "authorised_join": rules.restricted_join,
            "join": True,
            "invite": True,
            "leave": True,
            "ban": True,
            "knock": rules.knock,
            "unknown_membership": True,
        },
    )
    return RuleNumbers(version=rules.version, **numbers, **memberships)


def _count(prefix: str, present: dict[str, bool]) -> dict[str, str]:
    """Numbers for the rules that are present, from 2 on."""
    number = 1
    numbers = {}
    for name, is_present in present.items():
        number += is_present
        numbers[name] = f"{prefix}{number}" if is_present else ""
    return numbers
