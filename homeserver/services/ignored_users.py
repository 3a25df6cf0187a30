"""What a user does not want to hear of: ignored users, and invites.

Spec: https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
Spec: https://spec.matrix.org/v1.19/client-server-api/#invite-permission
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.core.errors import MatrixError
from homeserver.storage import account_data
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.database import Transaction, is_storable

IGNORED_USER_LIST = "m.ignored_user_list"
INVITE_PERMISSION = "m.invite_permission_config"


@dataclass(frozen=True, slots=True)
class Unwanted:
    """ignored: the user IDs that a user ignores. blocks_invites: whether the user wants no invites, whoever sends them."""

    ignored: frozenset[str]
    blocks_invites: bool

    def lets_invite(self, sender: str) -> bool:
        """Whether the user wants to see an invite of this sender."""
        return not self.blocks_invites and sender not in self.ignored


async def ignored_users(tx: Transaction, user_id: str) -> frozenset[str]:
    """The user IDs that a user ignores; what is wrong in the list, and the user himself, counts for nothing."""
    return ignored_in(user_id, await account_data.get(tx, user_id, GLOBAL, IGNORED_USER_LIST))


async def unwanted_by(tx: Transaction, user_id: str) -> Unwanted:
    """All that the user does not want to hear of."""
    found = await account_data.of_types(tx, [user_id], [IGNORED_USER_LIST, INVITE_PERMISSION])
    return Unwanted(
        ignored_in(user_id, found.get((user_id, IGNORED_USER_LIST))),
        _blocks(found.get((user_id, INVITE_PERMISSION))),
    )


async def check_takes_invites(tx: Transaction, user_ids: Collection[str]) -> None:
    """Raises M_INVITE_BLOCKED when one of these users of ours wants no invites.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#invite-permission
    """
    found = await account_data.of_types(tx, user_ids, [INVITE_PERMISSION])
    for (user_id, _), content in found.items():
        if _blocks(content):
            raise MatrixError("M_INVITE_BLOCKED", f"{user_id} does not want to be invited", 403)


def ignored_in(user_id: str, content: bytes | None) -> frozenset[str]:
    """The user IDs that the content of a user's list names; None: there is none."""
    listed = json.loads(content).get("ignored_users") if content is not None else None
    if not isinstance(listed, Mapping):
        return frozenset()
    return frozenset(each for each in listed if each != user_id and is_storable(each))


def _blocks(content: bytes | None) -> bool:
    return content is not None and json.loads(content).get("default_action") == "block"
