"""Whom a user does not want to hear of.

Spec: https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from homeserver.storage import account_data
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.database import Transaction, is_storable

IGNORED_USER_LIST = "m.ignored_user_list"


async def ignored_users(tx: Transaction, user_id: str) -> frozenset[str]:
    """The user IDs that a user ignores; what is wrong in the list, and the user himself, counts for nothing."""
    content = await account_data.get(tx, user_id, GLOBAL, IGNORED_USER_LIST)
    return frozenset() if content is None else ignored_in(user_id, content)


def ignored_in(user_id: str, content: bytes) -> frozenset[str]:
    """The user IDs that the content of a user's list names."""
    listed = json.loads(content).get("ignored_users")
    if not isinstance(listed, Mapping):
        return frozenset()
    return frozenset(each for each in listed if each != user_id and is_storable(each))
