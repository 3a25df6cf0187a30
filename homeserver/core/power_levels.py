"""Power levels: who may do what in a room, with and without an m.room.power_levels event.

A level is a number that compares: an `int`, or `INFINITE` for the creators of a room whose version privileges
them. `power_levels_of(state)` reads them from a room state; the methods of `PowerLevels` answer both the
authorisation rules and the services that want to know beforehand whether an action can succeed.

Spec: https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomRules

CREATE: Final[StateKey] = ("m.room.create", "")
POWER_LEVELS: Final[StateKey] = ("m.room.power_levels", "")

INFINITE: Final = math.inf
"""The level of a creator in room version 12 and later: above every integer."""

DEFAULTS: Final[Mapping[str, int]] = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}
"""The levels that are properties of `content`, each with what holds when it is not given."""

NOTIFICATION_DEFAULT: Final = 50
"""What `notifications` requires for a key that it does not name."""

LEVEL_WITHOUT_EVENT: Final = 100
"""The level of the creator as long as there is no m.room.power_levels event (room versions 1 to 11)."""

ABOVE_ADMINISTRATORS: Final = 150
"""The level that m.room.tombstone takes in new rooms whose creators are privileged: in the next room those who may send it are."""

# "A single base 10 integer, no float values or decimal points, optionally with any number of leading zeroes;
# optionally prefixed with a single - or + character; optionally with any number of leading or trailing
# whitespace characters." Spec:
# https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings
_STRINGY = re.compile(r"([+-]?)([0-9]+)")
# "Values outside the range represented by IEEE754 binary64 cause the power level event to be rejected": 310
# digits are. It also keeps int() within its own limit on digits.
_MAX_DIGITS: Final = 309


def parse_level(value: object, rules: RoomRules) -> int | None:
    """The integer that a value in m.room.power_levels stands for in this room version, or None when it is not
    one.

    Up to version 9 strings are integers too; up to version 5 floats are, cut at the decimal point.

    Spec: https://spec.matrix.org/v1.19/rooms/v1/#deprecated-event-content-schemas
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and not rules.strict_canonical_json:
        return int(value) if math.isfinite(value) else None
    if isinstance(value, str) and not rules.integer_power_levels:
        match = _STRINGY.fullmatch(value.strip())
        digits = match[2].lstrip("0") if match else ""
        return int(match[1] + (digits or "0")) if match and len(digits) <= _MAX_DIGITS else None
    return None


def creators(create: Event) -> frozenset[str]:
    """The user IDs of the room's creators, from its m.room.create event.

    Versions 1 to 10: `content.creator`; 11: the sender; 12 and later: the sender and
    `content.additional_creators`.

    Spec: https://spec.matrix.org/v1.19/rooms/v12/#event-format
    """
    if not create.rules.implicit_room_creator:
        creator = create.content.get("creator")
        return frozenset({creator}) if isinstance(creator, str) else frozenset()
    if not create.rules.privileged_creators:
        return frozenset({create.sender})
    additional = create.content.get("additional_creators")
    others = (user for user in additional if isinstance(user, str)) if isinstance(additional, list) else ()
    return frozenset({create.sender, *others})


@dataclass(frozen=True, slots=True)
class PowerLevels:
    """The power levels of a room at one point of its history.

    `content` is that of the m.room.power_levels event, None when the room has none. A value in it that is not
    a level counts as not given; the authorisation rules refuse such events, but redaction and history may
    leave some.
    """

    rules: RoomRules
    content: Mapping[str, Any] | None
    creators: frozenset[str]

    def _named(self, name: str) -> int:
        level = parse_level(self.content.get(name), self.rules) if self.content is not None else None
        return DEFAULTS[name] if level is None else level

    def _entry(self, name: str, key: str) -> int | None:
        entries = self.content.get(name) if self.content is not None else None
        return parse_level(entries.get(key), self.rules) if isinstance(entries, Mapping) else None

    @property
    def ban(self) -> int:
        """The *ban level*."""
        return self._named("ban")

    @property
    def kick(self) -> int:
        """The *kick level*."""
        return self._named("kick")

    @property
    def invite(self) -> int:
        """The *invite level*."""
        return self._named("invite")

    @property
    def redact(self) -> int:
        """The *redact level*: what it takes to redact an event of somebody else."""
        return self._named("redact")

    def user_level(self, user_id: str) -> float:
        """The level of a user: an integer, or `INFINITE` for a privileged creator."""
        if user_id in self.creators:
            if self.rules.privileged_creators:
                return INFINITE
            if self.content is None:
                return LEVEL_WITHOUT_EVENT
        level = self._entry("users", user_id)
        return self._named("users_default") if level is None else level

    def required_level(self, event_type: str, *, is_state: bool) -> int:
        """The *required power level* of an event type. Not for m.room.member, which has rules of its own.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#definitions
        """
        level = self._entry("events", event_type)
        if level is not None:
            return level
        return self._named("state_default" if is_state else "events_default")

    def notification_level(self, key: str) -> int:
        """The level a sender needs to trigger a notification of this kind, e.g. `room` for @room."""
        level = self._entry("notifications", key)
        return NOTIFICATION_DEFAULT if level is None else level

    def can_send(self, user_id: str, event_type: str, *, is_state: bool) -> bool:
        """Whether the user's level is enough for this event type."""
        return self.user_level(user_id) >= self.required_level(event_type, is_state=is_state)

    def can_invite(self, user_id: str) -> bool:
        """Whether the user's level is enough to invite."""
        return self.user_level(user_id) >= self.invite

    def can_kick(self, user_id: str, target: str) -> bool:
        """Whether the user's level is enough to remove `target` from the room."""
        level = self.user_level(user_id)
        return level >= self.kick and self.user_level(target) < level

    def can_ban(self, user_id: str, target: str) -> bool:
        """Whether the user's level is enough to ban `target`."""
        level = self.user_level(user_id)
        return level >= self.ban and self.user_level(target) < level

    def can_unban(self, user_id: str, target: str) -> bool:
        """Whether the user's level is enough to lift a ban: both the kick and the ban level, and above
        `target`.
        """
        return self.can_kick(user_id, target) and self.user_level(user_id) >= self.ban

    def can_redact_others(self, user_id: str) -> bool:
        """Whether the user's level is enough to redact events that others sent."""
        return self.user_level(user_id) >= self.redact

    def can_notify(self, user_id: str, key: str) -> bool:
        """Whether the user's level is enough to trigger a notification of this kind."""
        return self.user_level(user_id) >= self.notification_level(key)


def power_levels_of(state: Mapping[StateKey, Event]) -> PowerLevels:
    """The power levels in a room state that holds at least m.room.create and, if there is one,
    m.room.power_levels.

    Raises KeyError when there is no m.room.create event.
    """
    return power_levels_from(state[CREATE], state.get(POWER_LEVELS))


def power_levels_from(create: Event, power_levels: Event | None) -> PowerLevels:
    """The power levels that these two events give."""
    return PowerLevels(create.rules, power_levels.content if power_levels else None, creators(create))
