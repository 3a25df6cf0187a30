"""What the rules read of the room state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.core.auth_rules.refusal import Refusal, RuleNumbers, rule_numbers
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import POWER_LEVELS, PowerLevels, power_levels_from
from homeserver.core.room_versions import RoomRules


@dataclass(frozen=True, slots=True)
class Context:
    """An event, the state it is held against, and that state's create event and power levels."""

    event: Event
    state: Mapping[StateKey, Event]
    create: Event
    levels: PowerLevels
    numbers: RuleNumbers

    @staticmethod
    def of(event: Event, state: Mapping[StateKey, Event], create: Event) -> Context:
        """The context of `event` in `state`, which holds `create`."""
        levels = power_levels_from(create, state.get(POWER_LEVELS))
        return Context(event, state, create, levels, rule_numbers(event.rules))

    @property
    def rules(self) -> RoomRules:
        """The rules of the room version."""
        return self.event.rules

    @property
    def sender_level(self) -> float:
        """The power level of the event's sender."""
        return self.levels.user_level(self.event.sender)

    def membership_of(self, user_id: str) -> str | None:
        """The user's current membership state; None when the user never had one."""
        member = self.state.get(("m.room.member", user_id))
        return member.membership if member is not None else None

    @property
    def join_rule(self) -> str:
        """The current join rule. A room without an m.room.join_rules event, or with a malformed one, is
        `invite`.
        """
        join_rules = self.state.get(("m.room.join_rules", ""))
        rule = join_rules.content.get("join_rule") if join_rules is not None else None
        return rule if isinstance(rule, str) else "invite"

    def refuse(self, number: str, reason: str) -> Refusal:
        """A refusal by the rule with this number in the room version's text."""
        return self.numbers.refuse(number, reason)
