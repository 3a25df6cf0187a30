"""The rooms that two users are both in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

from __future__ import annotations

import re
from typing import Any, Final

from homeserver.core.errors import invalid_param
from homeserver.core.identifiers import is_compliant_user_id, is_valid_user_id
from homeserver.storage import memberships
from homeserver.storage.database import Database, Transaction

PAGE: Final = 100

_TOKEN = re.compile(r"m([0-9]{1,18})")


class MutualRooms:
    """Finds them, page by page."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, user_id: str, other: str, token: str | None) -> dict[str, Any]:
        """`joined`, `count`, and `next_batch` while there are more. Tokens do not expire.

        Raises M_INVALID_PARAM for the user's own ID, a historical one, and a token that is not ours.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
        """
        if other == user_id:
            raise invalid_param("A user shares rooms with others only: user_id is the one that asks")
        after = _position(token)
        # "If the provided `user_id` is not a valid user, the server MUST return an empty list of rooms."
        if not is_valid_user_id(other):
            return {"joined": [], "count": 0}
        # "the `user_id` parameter was missing, non-compliant [...]"
        if not is_compliant_user_id(other):
            raise invalid_param("The user ID is a historical one")

        async def work(tx: Transaction) -> tuple[list[tuple[int, str]], int]:
            shared = await memberships.shared_rooms(tx, user_id, other, after=after, limit=PAGE + 1)
            return shared, await memberships.count_shared_rooms(tx, user_id, other)

        found, count = await self._database.read(work)
        answer: dict[str, Any] = {"joined": [room_id for _, room_id in found[:PAGE]], "count": count}
        if len(found) > PAGE:
            answer["next_batch"] = f"m{found[PAGE - 1][0]}"
        return answer


def _position(token: str | None) -> int:
    if token is None:
        return 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise invalid_param(f"{token[:60]!r} is not a token that this endpoint gave")
    return int(match[1])
