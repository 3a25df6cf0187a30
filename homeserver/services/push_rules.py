"""Push rules of users: what each has changed is stored, and read together with the default rules.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.errors import MatrixError, too_large
from homeserver.core.push_rules import (
    Changes,
    PushRule,
    Ruleset,
    changes_from,
    copy_for_room,
    delete_rule,
    parse_actions,
    parse_kind,
    parse_rule,
    put_rule,
    rule_not_found,
    ruleset,
    set_actions,
    set_enabled,
)
from homeserver.services.notifier import Committed
from homeserver.services.user_writes import UserWrites
from homeserver.storage import positions, push_rules
from homeserver.storage.database import Transaction
from homeserver.storage.push_rules import StoredRules

log = logging.getLogger(__name__)

PUSH_RULES = "m.push_rules"
"""The type of account data as which /sync tells of push rules.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules-events
"""

MAX_BYTES = 256 * 1024
"""Of all that a user has changed, as it is stored."""


class PushRules:
    """Reads and changes the push rules of users."""

    def __init__(self, writes: UserWrites) -> None:
        self._writes = writes

    async def all(self, user_id: str) -> Ruleset:
        """All rules that hold for a user.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
        """
        return await self._writes.read(lambda tx: rules_of(tx, user_id))

    async def get(self, user_id: str, kind: str, rule_id: str) -> PushRule:
        """One rule. Raises M_INVALID_PARAM for an unknown kind, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
        """
        parsed = parse_kind(kind)
        rule = (await self.all(user_id)).find(parsed, rule_id)
        if rule is None:
            raise rule_not_found()
        return rule

    async def put(self, user_id: str, rule: PushRule, before: str | None, after: str | None) -> None:
        """Add a rule of the user's own, or change it.

        Raises M_UNKNOWN when `before` or `after` is none of the user's own rules or there are too many, M_TOO_LARGE.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
        """
        await self._change(user_id, lambda changes: put_rule(changes, rule, before=before, after=after))

    async def delete(self, user_id: str, kind: str, rule_id: str) -> None:
        """Take a rule of the user's own away. Raises M_NOT_FOUND, M_INVALID_PARAM for an unknown kind or a default rule.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
        """
        parsed = parse_kind(kind)
        await self._change(user_id, lambda changes: delete_rule(changes, user_id, parsed, rule_id))

    async def set_enabled(self, user_id: str, kind: str, rule_id: str, enabled: bool) -> None:
        """Enable or disable a rule. Raises M_NOT_FOUND, M_INVALID_PARAM for an unknown kind.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
        """
        parsed = parse_kind(kind)
        await self._change(user_id, lambda changes: set_enabled(changes, user_id, parsed, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: str, rule_id: str, actions: Sequence[Any]) -> None:
        """Set the actions of a rule. Raises M_NOT_FOUND, M_BAD_JSON, M_TOO_LARGE, M_INVALID_PARAM for an unknown kind.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
        """
        parsed, given = parse_kind(kind), parse_actions(actions)
        await self._change(user_id, lambda changes: set_actions(changes, user_id, parsed, rule_id, given))

    async def copy_room(self, user_id: str, old_room_id: str, new_room_id: str) -> None:
        """Have the rules that are for one room for another as well, unless that would be too many."""
        try:
            await self._change(user_id, lambda changes: copy_for_room(changes, old_room_id, new_room_id))
        except MatrixError as too_many:
            log.info("the push rules of %s for %s are not copied: %s", user_id, old_room_id, too_many.message)

    async def _change(self, user_id: str, change: Callable[[Changes], Changes]) -> None:
        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            before = _changes(await push_rules.get(tx, user_id))
            changed = change(before).body()
            if changed == before.body():
                return None, None
            encoded = encode_canonical(changed)
            if len(encoded) > MAX_BYTES:
                raise too_large(f"The push rules of a user have at most {MAX_BYTES} bytes")
            position = await positions.take(tx)
            await push_rules.put(tx, user_id, StoredRules(encoded, position))
            return None, Committed(position, users=frozenset({user_id}))

        await self._writes.run(work)


def new_rule(
    kind: str, rule_id: str, actions: Sequence[Any], conditions: Sequence[Any], pattern: str | None
) -> PushRule:
    """What a client has given as a rule. Raises M_INVALID_PARAM, M_BAD_JSON with the JSON path of what is wrong."""
    return parse_rule(parse_kind(kind), rule_id, actions, conditions, pattern)


async def rules_of(tx: Transaction, user_id: str) -> Ruleset:
    """All rules that hold for a user."""
    return ruleset(user_id, _changes(await push_rules.get(tx, user_id)))


async def rules_event_content(tx: Transaction, user_id: str) -> bytes:
    """The content of the user's `m.push_rules` event.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#mpush_rules
    """
    return encode_canonical({"global": (await rules_of(tx, user_id)).body()})


def _changes(stored: StoredRules | None) -> Changes:
    return Changes() if stored is None else changes_from(json.loads(stored.changes))
