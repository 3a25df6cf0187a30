"""Whether a rule matches an event, and what then follows.

Spec: https://spec.matrix.org/v1.19/client-server-api/#conditions-1
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from homeserver.core.canonical_json import MAX_INTEGER, MIN_INTEGER
from homeserver.core.event_fields import split_path
from homeserver.core.globs import glob_matches, glob_matches_words, words_occur
from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_rules.rules import Action, Condition, Kind, PushRule, Ruleset

MEMBER_COUNT: Final = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,9})")
"""The `is` of `room_member_count`: "A decimal integer optionally prefixed by one of, ==, <, >, >= or <="."""

_COMPARISONS: Final[Mapping[str | None, Callable[[int, int], bool]]] = {
    None: operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class PushContext:
    """What rules ask about the room and not about the event.

    member_count: its joined members. power_levels: as they stand, None when they are not known. display_name: what the owner of
    the rules is called in the room.
    """

    member_count: int
    power_levels: PowerLevels | None = None
    display_name: str | None = None


def matching_rule(
    ruleset: Ruleset, user_id: str, event: Mapping[str, Any], context: PushContext
) -> PushRule | None:
    """The rule of `user_id` that decides about an event: the most important one that matches.

    None when there is none and for events that the user has sent: then nothing is notified.
    """
    if event.get("sender") == user_id:
        return None
    return next((rule for rule in ruleset if rule.enabled and matches(rule, event, context)), None)


def matches(rule: PushRule, event: Mapping[str, Any], context: PushContext) -> bool:
    """Whether a rule, enabled or not, matches an event, which is in the form for clients with its `room_id`.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
    """
    match rule.kind:
        case Kind.OVERRIDE | Kind.UNDERRIDE:
            return all(holds(condition, event, context) for condition in rule.conditions)
        case Kind.CONTENT:
            body = _property(event, "content.body")
            return isinstance(body, str) and glob_matches_words(rule.pattern or "", body)
        case Kind.ROOM:
            return event.get("room_id") == rule.rule_id
        case Kind.SENDER:
            return event.get("sender") == rule.rule_id


def holds(condition: Condition, event: Mapping[str, Any], context: PushContext) -> bool:
    """Whether a condition holds for an event. "Unrecognised conditions MUST NOT match any events", nor do those that lack a
    parameter."""
    kind = condition.get("kind")
    check = _CHECKS.get(kind) if isinstance(kind, str) else None
    return check is not None and check(condition, event, context)


def _event_match(condition: Condition, event: Mapping[str, Any], _: PushContext) -> bool:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not (isinstance(key, str) and isinstance(pattern, str)):
        return False
    value = _property(event, key)
    if not isinstance(value, str):
        return False
    # "As a special case, if `key` is `content.body`, then `pattern` must instead match any substring of the value".
    if _keys(key) == ("content", "body"):
        return glob_matches_words(pattern, value)
    return glob_matches(pattern, value)


def _event_property_is(condition: Condition, event: Mapping[str, Any], _: PushContext) -> bool:
    key, value = condition.get("key"), condition.get("value", _ABSENT)
    return isinstance(key, str) and is_simple(value) and _is_same(_property(event, key), value)


def _event_property_contains(condition: Condition, event: Mapping[str, Any], _: PushContext) -> bool:
    key, value = condition.get("key"), condition.get("value", _ABSENT)
    found = _property(event, key) if isinstance(key, str) else None
    return (
        isinstance(found, list | tuple) and is_simple(value) and any(_is_same(each, value) for each in found)
    )


def _contains_display_name(_: Condition, event: Mapping[str, Any], context: PushContext) -> bool:
    body, name = _property(event, "content.body"), context.display_name
    return isinstance(body, str) and bool(name) and words_occur(name or "", body)


def _room_member_count(condition: Condition, _: Mapping[str, Any], context: PushContext) -> bool:
    wanted = condition.get("is")
    parsed = MEMBER_COUNT.fullmatch(wanted) if isinstance(wanted, str) else None
    return parsed is not None and _COMPARISONS[parsed[1]](context.member_count, int(parsed[2]))


def _sender_notification_permission(
    condition: Condition, event: Mapping[str, Any], context: PushContext
) -> bool:
    key, sender, levels = condition.get("key"), event.get("sender"), context.power_levels
    if levels is None or not (isinstance(key, str) and isinstance(sender, str)):
        return False
    return levels.can_notify(sender, key)


_CHECKS: Final[Mapping[str, Callable[[Condition, Mapping[str, Any], PushContext], bool]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}


def is_simple(value: object) -> bool:
    """Whether it is what `event_property_is` compares: "non-compound canonical JSON values"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return MIN_INTEGER <= value <= MAX_INTEGER
    return value is None or isinstance(value, str | bool)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule's actions come to. tweaks: names to values, as a push gateway gets them."""

    notify: bool
    tweaks: Mapping[str, Any]

    @property
    def highlight(self) -> bool:
        """Whether the event is to be highlighted."""
        return bool(self.tweaks.get("highlight", False))


def outcome(actions: Iterable[Action]) -> Outcome:
    """What follows from a matching rule.

    "If a `highlight` tweak is given with no value, its value is defined to be `true`."

    Spec: https://spec.matrix.org/v1.19/client-server-api/#actions
    """
    notify, tweaks = False, {}
    for action in actions:
        if action == "notify":
            notify = True
        elif isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str):
            name = action["set_tweak"]
            tweaks[name] = action.get("value", True if name == "highlight" else None)
    return Outcome(notify, tweaks)


_ABSENT: Final = object()


@lru_cache(maxsize=4096)
def _keys(path: str) -> tuple[str, ...]:
    return tuple(split_path(path))


def _property(event: Mapping[str, Any], path: str) -> Any:
    """The property at a dot-separated path; `_ABSENT`, which equals nothing, when there is none."""
    value: Any = event
    for key in _keys(path):
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _is_same(found: Any, value: Any) -> bool:
    """Equal and of the same type: in Python True equals 1."""
    return type(found) is type(value) and bool(found == value)
