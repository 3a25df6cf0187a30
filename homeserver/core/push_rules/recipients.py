"""What one event comes to for many users, without holding it against the same rule again and again.

Most users have the default rules, which differ between users in two places alone: who is invited and who is mentioned.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-12
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from homeserver.core.push_rules.changes import Changes, ruleset
from homeserver.core.push_rules.evaluation import PushContext, matches, outcome
from homeserver.core.push_rules.rules import Action, Condition, PushRule, Ruleset

NOTHING: Sequence[Action] = ()

NOBODY = "@:"
"""A user ID that nobody has."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What an event comes to: `usual` for all who are not named in `others`, by user ID. Empty actions: it does not notify."""

    usual: Sequence[Action]
    others: Mapping[str, Sequence[Action]]


def decide(
    event: Mapping[str, Any],
    members: Collection[str],
    changed: Mapping[str, Ruleset],
    context: PushContext,
    names: Mapping[str, str],
) -> Decided:
    """What an event comes to for users of a room. It takes no longer for many of them who have the default rules.

    event: in the form for clients, with its `room_id`. changed: the rules of those who have not the default ones, be they members
    or not. names: what those of them are called in the room whose rules ask for it.
    """
    held = _Held(event, context)
    others = {user_id: held.actions(rules, names.get(user_id)) for user_id, rules in changed.items()}
    named = _named(event)
    for user_id in named:
        if user_id in members and user_id not in others:
            others[user_id] = held.actions(_default_ruleset(user_id), None)
    nobody = NOBODY
    while nobody in named:
        nobody += ":"
    return Decided(held.actions(_default_ruleset(nobody), None), others)


@lru_cache(maxsize=64)
def _default_ruleset(user_id: str) -> Ruleset:
    return ruleset(user_id, Changes())


def asks_for_name(rules: Ruleset) -> bool:
    """Whether one of the rules depends on what its owner is called in the room."""
    return any(
        condition.get("kind") == "contains_display_name" for rule in rules for condition in rule.conditions
    )


class _Held:
    """An event, and which of the rules that users share match it."""

    def __init__(self, event: Mapping[str, Any], context: PushContext) -> None:
        self._event = event
        self._context = context
        # By the identity of the conditions, which are kept so that no others get it meanwhile.
        self._known: dict[int, tuple[Sequence[Condition], bool]] = {}

    def actions(self, rules: Ruleset, display_name: str | None) -> Sequence[Action]:
        """The actions of the first rule that matches, if they notify."""
        context = self._context if display_name is None else replace(self._context, display_name=display_name)
        for rule in rules:
            if rule.enabled and self._matches(rule, context):
                return rule.actions if outcome(rule.actions).notify else NOTHING
        return NOTHING

    def _matches(self, rule: PushRule, context: PushContext) -> bool:
        if not rule.default:
            return matches(rule, self._event, context)
        known = self._known.get(id(rule.conditions))
        if known is None:
            known = rule.conditions, matches(rule, self._event, context)
            self._known[id(rule.conditions)] = known
        return known[1]


def _named(event: Mapping[str, Any]) -> set[str]:
    """The users whom default rules may treat otherwise than all the rest: those whom the event names."""
    content, state_key = event.get("content"), event.get("state_key")
    mentions = content.get("m.mentions") if isinstance(content, Mapping) else None
    user_ids = mentions.get("user_ids") if isinstance(mentions, Mapping) else None
    named = (
        {each for each in user_ids if isinstance(each, str)} if isinstance(user_ids, list | tuple) else set()
    )
    if isinstance(state_key, str):
        named |= {state_key, state_key.casefold()}  # patterns do not tell them apart
    return named
