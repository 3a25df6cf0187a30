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
    count = 1  # rule 1 is m.room.create in every version
    room_id = aliases = redaction = authorised_join = knock = ""

    def following() -> str:
        nonlocal count
        count += 1
        return str(count)

    if rules.room_id_is_create_hash:
        room_id = following()
    auth_events = following()
    federate = following()
    if rules.alias_events_auth:
        aliases = following()
    member = following()
    # Within m.room.member, 1 is about its form.
    part = 1

    def following_part() -> str:
        nonlocal part
        part += 1
        return f"{member}.{part}"

    if rules.restricted_join:
        authorised_join = following_part()
    join, invite, leave, ban = (following_part() for _ in range(4))
    if rules.knock:
        knock = following_part()
    unknown_membership = following_part()
    sender_joined, third_party_invite, required_level, user_state_key, power_levels = (
        following() for _ in range(5)
    )
    if rules.redaction_auth_in_events:
        redaction = following()
    return RuleNumbers(
        version=rules.version,
        room_id=room_id,
        auth_events=auth_events,
        federate=federate,
        aliases=aliases,
        member=member,
        authorised_join=authorised_join,
        join=join,
        invite=invite,
        leave=leave,
        ban=ban,
        knock=knock,
        unknown_membership=unknown_membership,
        sender_joined=sender_joined,
        third_party_invite=third_party_invite,
        required_level=required_level,
        user_state_key=user_state_key,
        power_levels=power_levels,
        redaction=redaction,
    )
