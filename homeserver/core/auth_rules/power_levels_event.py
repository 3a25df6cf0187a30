"""The rule on m.room.power_levels: its form, and that nobody gives or takes more than they have.

Its number differs between the versions; the numbers in the comments are those of room version 12 (rule 10).

Spec: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.auth_rules.context import Context
from homeserver.core.auth_rules.refusal import Refusal
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.power_levels import DEFAULTS, POWER_LEVELS, parse_level
from homeserver.core.room_versions import RoomRules


def authorise_power_levels(context: Context) -> Refusal | None:
    """The rule on m.room.power_levels."""
    content, rules = context.event.content, context.rules
    refusal = _check_form(context, content)
    if refusal is not None:
        return refusal
    # v12 10.4: "If the users property in content contains the sender of the m.room.create event or any of the
    # additional_creators array from the content of the m.room.create event, reject."
    if rules.privileged_creators:
        named = sorted(context.levels.creators & content.get("users", {}).keys())
        if named:
            return context.refuse(
                f"{context.numbers.power_levels}.4",
                f"{named[0]} created the room and cannot be given a power level",
            )
    # 10.5: "If there is no previous m.room.power_levels event in the room, allow."
    previous = context.state.get(POWER_LEVELS)
    if previous is None:
        return None
    return _check_changes(context, previous.content, content)


def _check_form(context: Context, content: Mapping[str, Any]) -> Refusal | None:
    number, rules = context.numbers.power_levels, context.rules
    # Before v10 the text has only the rule on users (10.1). What else is not a level in those versions is
    # refused by it too: "power levels can be encoded as strings; they must be the following format"; null
    # stands for absent.
    strict = rules.integer_power_levels
    # v10+ 10.1: "If any of the properties users_default, events_default, state_default, ban, redact, kick, or
    # invite in content are present and not an integer, reject."
    for name in DEFAULTS:
        if not _is_level(content, name, rules, null_is_absent=not strict):
            return context.refuse(f"{number}.1", f"{name} is {content[name]!r}, not an integer")
    # v10+ 10.2: "If either of the properties events or notifications in content are present and not an object
    # with values that are integers, reject."
    for name in ("events", "notifications"):
        entries = content.get(name, {})
        if entries is None and not strict:
            continue
        if not isinstance(entries, Mapping):
            return context.refuse(f"{number}.{2 if strict else 1}", f"{name} is not an object")
        for key in entries:
            if not _is_level(entries, key, rules, null_is_absent=not strict):
                return context.refuse(
                    f"{number}.{2 if strict else 1}", f"{name}[{key!r}] is {entries[key]!r}, not an integer"
                )
    # v10+ 10.3, before 10.1: "If the users property in content is not an object with keys that are valid user
    # IDs with values that are integers (or a string that is an integer), reject."
    users, number = content.get("users", {}), f"{number}.{3 if strict else 1}"
    if not isinstance(users, Mapping):
        return context.refuse(number, "users is not an object")
    for user_id in users:
        if not is_valid_user_id(user_id):
            return context.refuse(number, f"users names {user_id!r}, which is not a user ID")
        if not _is_level(users, user_id, rules):
            return context.refuse(number, f"users[{user_id!r}] is {users[user_id]!r}, not an integer")
    return None


def _is_level(
    entries: Mapping[str, Any], key: str, rules: RoomRules, *, null_is_absent: bool = False
) -> bool:
    if key not in entries or (null_is_absent and entries[key] is None):
        return True
    return parse_level(entries[key], rules) is not None


def _check_changes(
    context: Context, previous: Mapping[str, Any], content: Mapping[str, Any]
) -> Refusal | None:
    # The numbers below count from the rule "If there is no previous m.room.power_levels event".
    rules, sender = context.rules, context.event.sender
    first = 5 if rules.privileged_creators else 4 if rules.integer_power_levels else 2
    number = context.numbers.power_levels
    # 10.6: "For the properties users_default, events_default, state_default, ban, redact, kick, invite check
    # if they were added, changed or removed. For each found alteration: 1. If the current value is higher
    # than the sender's current power level, reject. 2. If the new value is higher than the sender's current
    # power level, reject."
    for name in DEFAULTS:
        current, new = parse_level(previous.get(name), rules), parse_level(content.get(name), rules)
        if current != new:
            refusal = _above(context, f"{number}.{first + 1}.1", name, current) or _above(
                context, f"{number}.{first + 1}.2", name, new
            )
            if refusal is not None:
                return refusal
    # 10.7, 10.8: "For each entry being changed in, or removed from, the events [v6+: or notifications]
    # properties: 1. If the current value is greater than the sender's current power level, reject. For each
    # entry being added to, or changed in, [them]: 1. If the new value is greater than the sender's current
    # power level, reject."
    guarded = ("events", "notifications") if rules.notifications_power_levels else ("events",)
    for name in guarded:
        for key, current, new in _changes(previous.get(name), content.get(name), rules):
            what = f"{name}[{key!r}]"
            refusal = _above(context, f"{number}.{first + 2}.1", what, current) or _above(
                context, f"{number}.{first + 3}.1", what, new
            )
            if refusal is not None:
                return refusal
    for user_id, current, new in _changes(previous.get("users"), content.get("users"), rules):
        # 10.9: "For each entry being changed in, or removed from, the users property, other than the sender's
        # own entry: 1. If the current value is greater than or equal to the sender's current power level,
        # reject."
        if user_id != sender and current is not None and current >= context.sender_level:
            return context.refuse(
                f"{number}.{first + 4}.1",
                f"{user_id} has power level {current}, which {sender} with {context.sender_level} cannot change",
            )
        # 10.10: "For each entry being added to, or changed in, the users property: 1. If the new value is
        # greater than the sender's current power level, reject."
        refusal = _above(context, f"{number}.{first + 5}.1", f"users[{user_id!r}]", new)
        if refusal is not None:
            return refusal
    # "Otherwise, allow."
    return None


def _changes(previous: object, content: object, rules: RoomRules) -> list[tuple[str, int | None, int | None]]:
    """The entries that differ: (key, level before, level after), None where there is none; sorted by key."""
    before = _levels(previous, rules)
    after = _levels(content, rules)
    return [
        (key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _levels(entries: object, rules: RoomRules) -> dict[str, int]:
    if not isinstance(entries, Mapping):
        return {}
    parsed = ((key, parse_level(value, rules)) for key, value in entries.items())
    return {key: level for key, level in parsed if level is not None}


def _above(context: Context, number: str, what: str, level: int | None) -> Refusal | None:
    if level is None or level <= context.sender_level:
        return None
    return context.refuse(
        number,
        f"{what}: {level} is above the power level {context.sender_level} of {context.event.sender}",
    )
