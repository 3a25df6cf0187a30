"""Push rules: which events notify a user, and how.

`defaults` are the rules that everyone has, `changes` what one user has made of them, `validation` what a client may give,
`evaluation` whether a rule matches an event, `recipients` what an event comes to for many users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from homeserver.core.push_rules.changes import (
    Changes,
    changes_from,
    copy_for_room,
    delete_rule,
    put_rule,
    rule_not_found,
    ruleset,
    set_actions,
    set_enabled,
)
from homeserver.core.push_rules.evaluation import Outcome, PushContext, matches, matching_rule, outcome
from homeserver.core.push_rules.recipients import Decided, asks_for_name, decide
from homeserver.core.push_rules.rules import Kind, PushRule, Ruleset
from homeserver.core.push_rules.validation import parse_actions, parse_kind, parse_rule

__all__ = [
    "Changes",
    "Decided",
    "Kind",
    "Outcome",
    "PushContext",
    "PushRule",
    "Ruleset",
    "asks_for_name",
    "changes_from",
    "copy_for_room",
    "decide",
    "delete_rule",
    "matches",
    "matching_rule",
    "outcome",
    "parse_actions",
    "parse_kind",
    "parse_rule",
    "put_rule",
    "rule_not_found",
    "ruleset",
    "set_actions",
    "set_enabled",
]
