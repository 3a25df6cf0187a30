"""What clients give as rules, checked before it is kept.

Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.identifiers import is_valid_room_id, is_valid_user_id
from homeserver.core.push_rules.evaluation import MEMBER_COUNT, is_simple
from homeserver.core.push_rules.rules import Action, Condition, Kind, PushRule

HISTORICAL_ACTIONS: Final = frozenset({"dont_notify", "coalesce"})
"""Servers "MUST ignore these actions, for instance, by stripping them".

Spec: https://spec.matrix.org/v1.19/client-server-api/#historical-actions
"""

MAX_RULE_ID_BYTES: Final = 255
MAX_PATTERN_LENGTH: Final = 255

# What a condition needs beside its kind.
_STRINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "event_match": ("key", "pattern"),
    "event_property_is": ("key",),
    "event_property_contains": ("key",),
    "room_member_count": ("is",),
    "sender_notification_permission": ("key",),
}


def parse_kind(kind: str) -> Kind:
    """The kind of this name. Raises M_INVALID_PARAM."""
    try:
        return Kind(kind)
    except ValueError:
        known = ", ".join(each.value for each in Kind)
        raise invalid_param(f"There are no push rules of the kind {kind[:60]!r}, only {known}") from None


def parse_rule(
    kind: Kind, rule_id: str, actions: Sequence[Any], conditions: Sequence[Any], pattern: str | None
) -> PushRule:
    """A rule of a user. Conditions are dropped where the kind has none, and a pattern likewise.

    Raises M_INVALID_PARAM for a rule ID that cannot be, M_BAD_JSON with the JSON path of what else is wrong.
    """
    _check_rule_id(kind, rule_id)
    if kind is Kind.CONTENT:
        if pattern is None:
            raise bad_json("A content rule needs a `pattern` - at `$.pattern`")
        _check_pattern(pattern, "$.pattern")
    return PushRule(
        kind,
        rule_id,
        parse_actions(actions),
        _parse_conditions(conditions) if kind.has_conditions else (),
        pattern if kind is Kind.CONTENT else None,
    )


def parse_actions(actions: Sequence[Any]) -> tuple[Action, ...]:
    """The actions of a rule, without historical ones. Raises M_BAD_JSON with the JSON path of what is none.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#actions
    """
    return tuple(
        _checked_action(action, f"$.actions[{index}]")
        for index, action in enumerate(actions)
        if not (isinstance(action, str) and action in HISTORICAL_ACTIONS)
    )


def _check_rule_id(kind: Kind, rule_id: str) -> None:
    # "If the string starts with a dot ("."), the request MUST be rejected as this is reserved for server-default rules."
    if rule_id.startswith("."):
        raise invalid_param("A rule ID that starts with a dot is reserved for the server's own rules")
    # "Slashes ("/") and backslashes ("\\") are also not allowed."
    if "/" in rule_id or "\\" in rule_id:
        raise invalid_param("A rule ID must not have slashes or backslashes")
    if not rule_id or len(rule_id.encode()) > MAX_RULE_ID_BYTES:
        raise invalid_param(f"A rule ID has between 1 and {MAX_RULE_ID_BYTES} bytes")
    # "The `rule_id` of a room rule is always the ID of the room that it affects", and likewise of sender rules.
    if kind is Kind.ROOM and not is_valid_room_id(rule_id):
        raise invalid_param("The ID of a room rule is the ID of the room that it is about")
    if kind is Kind.SENDER and not is_valid_user_id(rule_id):
        raise invalid_param("The ID of a sender rule is the ID of the user whom it is about")


def _checked_action(action: Any, path: str) -> Action:
    if action == "notify":
        return "notify"
    if isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str):
        return action
    raise bad_json(f'An action is "notify" or an object with `set_tweak` - at `{path}`')


def _parse_conditions(conditions: Sequence[Any]) -> tuple[Condition, ...]:
    """Conditions of kinds that nobody knows are kept: they match nothing."""
    for index, condition in enumerate(conditions):
        path = f"$.conditions[{index}]"
        if not isinstance(condition, Mapping) or not isinstance(condition.get("kind"), str):
            raise bad_json(f"A condition is an object with a `kind` - at `{path}`")
        _check_condition(condition, path)
    return tuple(conditions)


def _check_condition(condition: Condition, path: str) -> None:
    kind = condition["kind"]
    for name in _STRINGS.get(kind, ()):
        if not isinstance(condition.get(name), str):
            raise bad_json(f"The condition {kind} needs a string - at `{path}.{name}`")
    if kind == "event_match":
        _check_pattern(condition["pattern"], f"{path}.pattern")
    if kind == "room_member_count" and not MEMBER_COUNT.fullmatch(condition["is"]):
        raise bad_json(f"Expected a number, with ==, <, >, >= or <= before it if need be - at `{path}.is`")
    needs_value = kind in ("event_property_is", "event_property_contains")
    if needs_value and not ("value" in condition and is_simple(condition["value"])):
        raise bad_json(
            f"The condition {kind} needs a string, an integer, a boolean or null - at `{path}.value`"
        )


def _check_pattern(pattern: str, path: str) -> None:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise bad_json(f"A pattern has at most {MAX_PATTERN_LENGTH} characters - at `{path}`")
