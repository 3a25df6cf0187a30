"""What a user has changed of the push rules: rules of the user's own, and what differs of the default ones.

This alone is stored. So a default rule that is new or changed in a later version holds for everyone at once, and what a user has
set of it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.push_rules.defaults import MASTER, default_rules
from homeserver.core.push_rules.rules import Action, Kind, PushRule, Ruleset

MAX_RULES: Final = 2_000
MAX_PATTERN_CHARACTERS: Final = 8_192
"""Of all patterns of a user together: every event in the user's rooms may be held against all of them."""


@dataclass(frozen=True, slots=True)
class Override:
    """What a user has set of a default rule; None: nothing."""

    enabled: bool | None = None
    actions: Sequence[Action] | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """rules: the user's own, the most important of each kind first. overrides: by the IDs of default rules."""

    rules: Mapping[Kind, Sequence[PushRule]] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON form, which is stored."""
        return {
            "rules": {
                kind.value: [_stored(rule) for rule in rules] for kind, rules in self.rules.items() if rules
            },
            "overrides": {
                rule_id: {
                    **({} if each.enabled is None else {"enabled": each.enabled}),
                    **({} if each.actions is None else {"actions": list(each.actions)}),
                }
                for rule_id, each in self.overrides.items()
            },
        }


def changes_from(body: Mapping[str, Any]) -> Changes:
    """What `Changes.body` has made JSON of."""
    return Changes(
        {
            Kind(kind): tuple(
                PushRule(
                    Kind(kind),
                    rule["rule_id"],
                    tuple(rule["actions"]),
                    tuple(rule.get("conditions", ())),
                    rule.get("pattern"),
                    enabled=rule.get("enabled", True),
                )
                for rule in rules
            )
            for kind, rules in body["rules"].items()
        },
        {
            rule_id: Override(each.get("enabled"), each.get("actions"))
            for rule_id, each in body["overrides"].items()
        },
    )


def _stored(rule: PushRule) -> dict[str, Any]:
    body = rule.body()
    del body["default"]
    if rule.enabled:
        del body["enabled"]
    return body


def ruleset(user_id: str, changes: Changes) -> Ruleset:
    """All rules that hold for a user.

    Default rules "operate at a lower priority than "user-defined rules", except for the `.m.rule.master` rule".

    Spec: https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
    """
    rules: dict[Kind, Sequence[PushRule]] = {}
    for kind in Kind:
        own = changes.rules.get(kind, ())
        defaults = [
            _overridden(rule, changes.overrides.get(rule.rule_id))
            for rule in default_rules(user_id).get(kind, ())
        ]
        master = [rule for rule in defaults if rule.rule_id == MASTER]
        rules[kind] = (*master, *own, *(rule for rule in defaults if rule.rule_id != MASTER))
    return Ruleset(rules)


def _overridden(rule: PushRule, override: Override | None) -> PushRule:
    if override is None:
        return rule
    return replace(
        rule,
        enabled=rule.enabled if override.enabled is None else override.enabled,
        actions=rule.actions if override.actions is None else override.actions,
    )


def put_rule(
    changes: Changes, rule: PushRule, *, before: str | None = None, after: str | None = None
) -> Changes:
    """Add a rule of the user's own, or put it in the place of the one with the same ID, which stays enabled or not as it was.

    before, after: IDs of rules of the user's own, the first of which wins. Without them a new rule is "the most important
    user defined rule among rules of the same kind", and another keeps its place. Raises M_UNKNOWN when one of them is not there
    or there are too many rules.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
    """
    rules = list(changes.rules.get(rule.kind, ()))
    place = _index(rules, rule.rule_id)
    if place is not None:
        rule = replace(rule, enabled=rules.pop(place).enabled)
    for beside in (before, after):
        if beside is not None and _index(rules, beside) is None:
            raise MatrixError("M_UNKNOWN", f"before/after rule not found: {beside[:300]}", 400)
    if before is not None:
        place = _index(rules, before)
    elif after is not None:
        place = (_index(rules, after) or 0) + 1
    rules.insert(place or 0, rule)
    changed = _with_rules(changes, rule.kind, rules)
    _check_size(changed)
    return changed


def delete_rule(changes: Changes, user_id: str, kind: Kind, rule_id: str) -> Changes:
    """Take a rule of the user's own away. Raises M_NOT_FOUND, and M_INVALID_PARAM for a default rule."""
    rules = list(changes.rules.get(kind, ()))
    place = _index(rules, rule_id)
    if place is None:
        if _index(default_rules(user_id).get(kind, ()), rule_id) is not None:
            raise invalid_param("The server's own push rules cannot be deleted, only disabled")
        raise rule_not_found()
    del rules[place]
    return _with_rules(changes, kind, rules)


def copy_for_room(changes: Changes, old_room_id: str, new_room_id: str) -> Changes:
    """Put beside each of the user's own rules that is for one room the same for another, unless there is one with its ID.

    A rule is for a room when it is a room rule with its ID, or has a condition that the room is this one.
    """
    copied = changes
    for kind, rules in changes.rules.items():
        taken = {rule.rule_id for rule in rules}
        both: list[PushRule] = []
        for rule in rules:
            both.append(rule)
            other = _for_room(rule, old_room_id, new_room_id)
            if other is not None and other.rule_id not in taken:
                both.append(other)
        copied = _with_rules(copied, kind, both)
    _check_size(copied)
    return copied


def _for_room(rule: PushRule, old_room_id: str, new_room_id: str) -> PushRule | None:
    if rule.kind is Kind.ROOM:
        return replace(rule, rule_id=new_room_id) if rule.rule_id == old_room_id else None
    conditions = [
        {**each, "pattern": new_room_id} if _is_of_room(each, old_room_id) else each
        for each in rule.conditions
    ]
    if conditions == list(rule.conditions):
        return None
    rule_id = rule.rule_id.replace(old_room_id, new_room_id)
    return replace(
        rule,
        rule_id=rule_id if rule_id != rule.rule_id else f"{rule_id} {new_room_id}",
        conditions=tuple(conditions),
    )


def _is_of_room(condition: Mapping[str, Any], room_id: str) -> bool:
    return (
        condition.get("kind") == "event_match"
        and condition.get("key") == "room_id"
        and condition.get("pattern") == room_id
    )


def set_enabled(changes: Changes, user_id: str, kind: Kind, rule_id: str, enabled: bool) -> Changes:
    """Enable or disable any rule. Raises M_NOT_FOUND."""
    default = _index(default_rules(user_id).get(kind, ()), rule_id)
    if default is None:
        return _change(changes, kind, rule_id, enabled=enabled)
    is_changed = default_rules(user_id)[kind][default].enabled != enabled
    override = changes.overrides.get(rule_id, Override())
    return _with_override(changes, rule_id, replace(override, enabled=enabled if is_changed else None))


def set_actions(
    changes: Changes, user_id: str, kind: Kind, rule_id: str, actions: Sequence[Action]
) -> Changes:
    """Set the actions of any rule. Raises M_NOT_FOUND."""
    default = _index(default_rules(user_id).get(kind, ()), rule_id)
    if default is None:
        return _change(changes, kind, rule_id, actions=actions)
    is_changed = list(default_rules(user_id)[kind][default].actions) != list(actions)
    override = changes.overrides.get(rule_id, Override())
    return _with_override(changes, rule_id, replace(override, actions=actions if is_changed else None))


def rule_not_found() -> MatrixError:
    """What is answered where there is no such rule."""
    return not_found("The push rule was not found.")


def _index(rules: Sequence[PushRule], rule_id: str) -> int | None:
    return next((index for index, rule in enumerate(rules) if rule.rule_id == rule_id), None)


def _change(changes: Changes, kind: Kind, rule_id: str, **values: Any) -> Changes:
    rules = list(changes.rules.get(kind, ()))
    place = _index(rules, rule_id)
    if place is None:
        raise rule_not_found()
    rules[place] = replace(rules[place], **values)
    return _with_rules(changes, kind, rules)


def _with_rules(changes: Changes, kind: Kind, rules: Sequence[PushRule]) -> Changes:
    return replace(changes, rules={**changes.rules, kind: tuple(rules)})


def _with_override(changes: Changes, rule_id: str, override: Override) -> Changes:
    overrides = {**changes.overrides, rule_id: override}
    if override == Override():
        del overrides[rule_id]
    return replace(changes, overrides=overrides)


def _check_size(changes: Changes) -> None:
    rules = [rule for kind in changes.rules.values() for rule in kind]
    if len(rules) > MAX_RULES:
        raise MatrixError("M_UNKNOWN", f"Nobody may have more than {MAX_RULES} push rules", 400)
    patterns = [rule.pattern for rule in rules if rule.pattern is not None]
    patterns += [
        each["pattern"] for rule in rules for each in rule.conditions if each["kind"] == "event_match"
    ]
    if sum(map(len, patterns)) > MAX_PATTERN_CHARACTERS:
        raise MatrixError(
            "M_UNKNOWN",
            f"The patterns of all push rules together may not have more than {MAX_PATTERN_CHARACTERS} characters",
            400,
        )
