"""What a room that replaces another begins with. Pure: it decides, and `room_upgrades` does it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-19
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError, check_canonical
from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.power_levels import (
    ABOVE_ADMINISTRATORS,
    CREATE,
    DEFAULTS,
    POWER_LEVELS,
    PowerLevels,
    creators,
    parse_level,
    power_levels_of,
)
from homeserver.core.room_versions import MAX_SAFE_INTEGER, RoomRules
from homeserver.core.visibility import JOIN_RULES
from homeserver.services.timeline import Draft

CANONICAL_ALIAS: Final[StateKey] = ("m.room.canonical_alias", "")
TOMBSTONE: Final = "m.room.tombstone"
SPACE_CHILD: Final = "m.space.child"

COPIED: Final[Sequence[StateKey]] = (
    ("m.room.history_visibility", ""),
    ("m.room.guest_access", ""),
    ("m.room.encryption", ""),
    ("m.room.server_acl", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
)
"""The state that is copied as it is; join rules, power levels and the alias are adapted."""

NEEDED: Final[Sequence[StateKey]] = (CREATE, POWER_LEVELS, JOIN_RULES, CANONICAL_ALIAS, *COPIED)
"""The state of the old room that decides on the new one, besides the children of a space."""

AT_ONCE: Final = 500
"""How many children and bans are sent with the room's first events: other writers wait meanwhile."""

ADMINISTRATOR: Final = 100
RETIRED_LEVEL: Final = 50
_LISTS: Final = ("users", "events", "notifications")
"""What in power levels is not one level."""


@dataclass(frozen=True, slots=True)
class OldRoom:
    """What there is of the old room. last_event: the ID of the last known event. aliases: those of this server.

    banned: by user ID the content of the member event.
    """

    room_id: str
    state: Mapping[StateKey, Event]
    last_event: str
    children: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    banned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    aliases: Collection[str] = ()

    @property
    def create(self) -> Event:
        """Its m.room.create event."""
        return self.state[CREATE]


def create_content(old: OldRoom, rules: RoomRules, additional_creators: Sequence[str]) -> dict[str, Any]:
    """The content of m.room.create, as far as it does not follow from the version and the creator.

    "a `predecessor` field [...] and a `type` field which is copied". What keeps other servers out does so in the new room.
    """
    content: dict[str, Any] = {"predecessor": {"room_id": old.room_id, "event_id": old.last_event}}
    before = old.create.content
    if isinstance(before.get("type"), str):
        content["type"] = before["type"]
    if before.get("m.federate") is False:
        content["m.federate"] = False
    if rules.privileged_creators and additional_creators:
        content["additional_creators"] = list(dict.fromkeys(additional_creators))
    return content


def drafts(
    old: OldRoom,
    rules: RoomRules,
    user_id: str,
    profile: Mapping[str, Any],
    additional_creators: Sequence[str],
) -> list[Draft]:
    """The events after m.room.create, in their order, all sent by the user who upgrades the room.

    Should the user's level not be enough to send them all, it is raised until they are sent. Of many children and bans the first
    are among them; `later` gives the others.
    """
    levels = power_levels(old, rules, {user_id, *additional_creators})
    copied = _sendable(
        [*_copied(old), *_many(old)[:AT_ONCE], *_join_rules(old, rules), *_canonical_alias(old)]
    )
    raised = levels
    without_creators = PowerLevels(rules, levels, frozenset())
    needed = max((_needed(without_creators, *key) for *key, _ in copied), default=0)
    if not rules.privileged_creators and without_creators.user_level(user_id) < needed:
        needed = max(needed, _needed(without_creators, *POWER_LEVELS))
        raised = {**levels, "users": {**levels["users"], user_id: needed}}
    first = [
        ("m.room.member", user_id, {**profile, "membership": "join"}),
        (*POWER_LEVELS, raised),
    ]
    last = [(*POWER_LEVELS, levels)] if raised != levels else []
    return _drafts(user_id, [*first, *copied, *last])


def later(old: OldRoom, user_id: str) -> list[Draft]:
    """The children and bans that are too many to be sent at once with the room's first events."""
    return _drafts(user_id, _sendable(_many(old)[AT_ONCE:]))


State = tuple[str, str, Mapping[str, Any]]
"""Type, state key, content."""


def _drafts(user_id: str, state: Iterable[State]) -> list[Draft]:
    return [Draft(user_id, kind, content, state_key) for kind, state_key, content in state]


def power_levels(old: OldRoom, rules: RoomRules, new_creators: Collection[str]) -> dict[str, Any]:
    """The power levels of the new room: those of the old one, in the form that the new version wants.

    Creators stand in no list where the version gives them all power, and whoever had that before stays an administrator.
    """
    before = old.create.rules
    content = old.state[POWER_LEVELS].content if POWER_LEVELS in old.state else {}
    levels = {
        **_levels_in(content, before),
        **{key: _levels_in(content[key], before) for key in _LISTS if key in content},
    }
    users = {
        user_id: level for user_id, level in levels.get("users", {}).items() if is_valid_user_id(user_id)
    }
    events = levels.get("events", {})
    if POWER_LEVELS not in old.state or before.privileged_creators:
        highest = ADMINISTRATOR if rules.privileged_creators else max((*events.values(), ADMINISTRATOR))
        users.update((creator, max(highest, users.get(creator, 0))) for creator in creators(old.create))
    if rules.privileged_creators:
        users = {user_id: level for user_id, level in users.items() if user_id not in new_creators}
        # "MUST explicitly be higher than `state_default`": who may upgrade the room gets all power in the next one.
        state_default = levels.get("state_default", DEFAULTS["state_default"])
        if not before.privileged_creators or events.get(TOMBSTONE, 0) <= state_default:
            events[TOMBSTONE] = max(ABOVE_ADMINISTRATORS, state_default + 1, events.get(TOMBSTONE, 0))
    return {**levels, "users": users, "events": events}


def _levels_in(content: object, rules: RoomRules) -> dict[str, Any]:
    """The entries that are power levels, as integers: later versions take nothing else."""
    entries = content if isinstance(content, Mapping) else {}
    levels = {key: parse_level(value, rules) for key, value in entries.items()}
    return {
        key: level for key, level in levels.items() if level is not None and abs(level) <= MAX_SAFE_INTEGER
    }


def _retired_power_levels(old: OldRoom) -> dict[str, Any] | None:
    """The power levels of the old room when it is replaced; None when they are so already, or there are none.

    "setting `events_default` and `invite` to the greater of `50` and `users_default + 1`"
    """
    if POWER_LEVELS not in old.state:
        return None
    rules, content = old.create.rules, old.state[POWER_LEVELS].content
    lowest = parse_level(content.get("users_default"), rules)
    at_least = max(RETIRED_LEVEL, (lowest or 0) + 1)
    raised = {}
    for name in ("events_default", "invite"):
        level = parse_level(content.get(name), rules)
        if (DEFAULTS[name] if level is None else level) < at_least:
            raised[name] = at_least
    return {**content, **raised} if raised else None


def _sendable(state: Iterable[State]) -> list[State]:
    """Without what old room versions allow and no new event can hold: numbers that are no integers, or too large."""
    found = []
    for each in state:
        try:
            check_canonical(each[2], strict=True)
        except CanonicalJSONError:
            continue
        found.append(each)
    return found


def _needed(levels: PowerLevels, kind: str, state_key: str) -> int:
    """The level that it takes to send state; of members, to ban them."""
    if kind == "m.room.member":
        return max(levels.ban, int(levels.user_level(state_key)) + 1)
    return levels.required_level(kind, is_state=True)


def _copied(old: OldRoom) -> list[State]:
    return [(*key, old.state[key].content) for key in COPIED if key in old.state]


def _many(old: OldRoom) -> list[State]:
    """What there may be very much of: the children of a space, and the bans.

    "Membership events should not be transferred", but that somebody is banned is the decision of those who run the room.
    """
    found: list[State] = [(SPACE_CHILD, room_id, content) for room_id, content in old.children.items()]
    for user_id, content in old.banned.items():
        reason = {"reason": content["reason"]} if isinstance(content.get("reason"), str) else {}
        found.append(("m.room.member", user_id, {**reason, "membership": "ban"}))
    return found


def _join_rules(old: OldRoom, rules: RoomRules) -> list[State]:
    """The join rules; where the version does not know them, only who is invited can join."""
    if JOIN_RULES not in old.state:
        return []
    content = old.state[JOIN_RULES].content
    known = {
        "knock": rules.knock,
        "restricted": rules.restricted_join,
        "knock_restricted": rules.knock_restricted_join,
    }
    join_rule = content.get("join_rule")
    if not isinstance(join_rule, str) or not known.get(join_rule, True):
        content = {"join_rule": "invite"}
    return [(*JOIN_RULES, content)]


def _canonical_alias(old: OldRoom) -> list[State]:
    """The canonical alias, as far as it names aliases that move with the room."""
    content = _aliases(old, moved=True)
    return [(*CANONICAL_ALIAS, content)] if content.get("alias") or content.get("alt_aliases") else []


def _aliases(old: OldRoom, *, moved: bool) -> dict[str, Any]:
    """The content of the old room's canonical alias with those aliases alone that move to the new room, or that do not."""
    content = dict(old.state[CANONICAL_ALIAS].content) if CANONICAL_ALIAS in old.state else {}
    if (content.get("alias") in old.aliases) is not moved:
        content.pop("alias", None)
    others = content.get("alt_aliases")
    if isinstance(others, list):
        content["alt_aliases"] = [alias for alias in others if (alias in old.aliases) is moved]
    return content


def closing(old: OldRoom, user_id: str) -> list[Draft]:
    """What is changed in the old room when it has got its tombstone, as far as the user may: its aliases lead to the new room, and
    nobody is to speak or to be invited there."""
    changed: list[State] = []
    remaining = _aliases(old, moved=False)
    if CANONICAL_ALIAS in old.state and remaining != old.state[CANONICAL_ALIAS].content:
        changed.append((*CANONICAL_ALIAS, remaining))
    levels = _retired_power_levels(old)
    if levels is not None:
        changed.append((*POWER_LEVELS, levels))
    return _drafts(user_id, _sendable(changed))


def is_upgrader(old: OldRoom, user_id: str) -> bool:
    """Whether the user may send the tombstone, and so upgrade the room."""
    return power_levels_of(old.state).can_send(user_id, TOMBSTONE, is_state=True)
