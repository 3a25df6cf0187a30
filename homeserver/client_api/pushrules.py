"""Push rules.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.push_rules import PushRules, new_rule

RULE = "/_matrix/client/v3/pushrules/global/{kind}/{rule_id}"
RULE_ALIASES = ("/_matrix/client/r0/pushrules/global/{kind}/{rule_id}",)
ENABLED = "/_matrix/client/v3/pushrules/global/{kind}/{rule_id}/enabled"
ENABLED_ALIASES = ("/_matrix/client/r0/pushrules/global/{kind}/{rule_id}/enabled",)
ACTIONS = "/_matrix/client/v3/pushrules/global/{kind}/{rule_id}/actions"
ACTIONS_ALIASES = ("/_matrix/client/r0/pushrules/global/{kind}/{rule_id}/actions",)


class RuleBody(Struct):
    """A rule. conditions: for override and underride rules. pattern: for content rules."""

    actions: list[Any]
    conditions: list[Any] = []
    pattern: str | None = None


class PlaceQuery(Struct):
    """IDs of other rules of the user, next to which the rule is to stand."""

    before: str | None = None
    after: str | None = None


class EnabledBody(Struct):
    """Whether the rule is enabled."""

    enabled: bool


class ActionsBody(Struct):
    """What the rule does."""

    actions: list[Any]


@endpoint(
    "GET",
    "/_matrix/client/v3/pushrules/",
    auth=ACCESS_TOKEN,
    aliases=(
        "/_matrix/client/v3/pushrules",
        "/_matrix/client/r0/pushrules/",
        "/_matrix/client/r0/pushrules",
    ),
)
async def get_push_rules(request: Request, rules: PushRules) -> dict[str, Any]:
    """All rules, in the one scope that there is.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
    """
    return {"global": (await rules.all(request.requester.user_id)).body()}


@endpoint(
    "GET",
    "/_matrix/client/v3/pushrules/global/",
    auth=ACCESS_TOKEN,
    aliases=(
        "/_matrix/client/v3/pushrules/global",
        "/_matrix/client/r0/pushrules/global/",
        "/_matrix/client/r0/pushrules/global",
    ),
)
async def get_push_rules_global(request: Request, rules: PushRules) -> dict[str, Any]:
    """All rules.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
    """
    return (await rules.all(request.requester.user_id)).body()


@endpoint("GET", RULE, auth=ACCESS_TOKEN, aliases=RULE_ALIASES)
async def get_push_rule(request: Request, kind: str, rule_id: str, rules: PushRules) -> dict[str, Any]:
    """One rule.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
    """
    return (await rules.get(request.requester.user_id, kind, rule_id)).body()


@endpoint("DELETE", RULE, auth=ACCESS_TOKEN, aliases=RULE_ALIASES)
async def delete_push_rule(request: Request, kind: str, rule_id: str, rules: PushRules) -> dict[str, Any]:
    """Delete a rule of one's own.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
    """
    await rules.delete(request.requester.user_id, kind, rule_id)
    return {}


@endpoint("PUT", RULE, auth=ACCESS_TOKEN, aliases=RULE_ALIASES)
async def set_push_rule(
    request: Request, kind: str, rule_id: str, body: RuleBody, query: PlaceQuery, rules: PushRules
) -> dict[str, Any]:
    """Add or change a rule of one's own.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
    """
    rule = new_rule(kind, rule_id, body.actions, body.conditions, body.pattern)
    await rules.put(request.requester.user_id, rule, query.before, query.after)
    return {}


@endpoint("GET", ENABLED, auth=ACCESS_TOKEN, aliases=ENABLED_ALIASES)
async def is_push_rule_enabled(request: Request, kind: str, rule_id: str, rules: PushRules) -> dict[str, Any]:
    """Whether a rule is enabled.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
    """
    return {"enabled": (await rules.get(request.requester.user_id, kind, rule_id)).enabled}


@endpoint("PUT", ENABLED, auth=ACCESS_TOKEN, aliases=ENABLED_ALIASES)
async def set_push_rule_enabled(
    request: Request, kind: str, rule_id: str, body: EnabledBody, rules: PushRules
) -> dict[str, Any]:
    """Enable or disable a rule.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
    """
    await rules.set_enabled(request.requester.user_id, kind, rule_id, body.enabled)
    return {}


@endpoint("GET", ACTIONS, auth=ACCESS_TOKEN, aliases=ACTIONS_ALIASES)
async def get_push_rule_actions(
    request: Request, kind: str, rule_id: str, rules: PushRules
) -> dict[str, Any]:
    """What a rule does.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions
    """
    return {"actions": list((await rules.get(request.requester.user_id, kind, rule_id)).actions)}


@endpoint("PUT", ACTIONS, auth=ACCESS_TOKEN, aliases=ACTIONS_ALIASES)
async def set_push_rule_actions(
    request: Request, kind: str, rule_id: str, body: ActionsBody, rules: PushRules
) -> dict[str, Any]:
    """Change what a rule does.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
    """
    await rules.set_actions(request.requester.user_id, kind, rule_id, body.actions)
    return {}
