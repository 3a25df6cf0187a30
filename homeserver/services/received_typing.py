"""Users of other servers begin and end to type.

Spec: https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from homeserver.core.identifiers import is_valid_room_id, is_valid_user_id
from homeserver.services.peer_access import acl_refusal
from homeserver.services.room_state import RoomStates
from homeserver.services.typing_users import TypingUsers
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)

TIMEOUT_MS: Final = 60_000
"""After that a user counts as having stopped, unless the server says again that the user is typing."""


class ReceivedTyping:
    """Takes m.typing EDUs."""

    def __init__(self, database: Database, states: RoomStates, users: TypingUsers) -> None:
        """`states`: where the rooms' server ACLs are."""
        self._database = database
        self._states = states
        self._users = users

    async def take(self, origin: str, content: Mapping[str, Any]) -> None:
        """Note whether a user of the server `origin` is typing in a room.

        "Receiving servers should verify that the user is in the room, and is a user belonging to the sending server."
        """
        room_id, user_id, is_typing = content.get("room_id"), content.get("user_id"), content.get("typing")
        if not isinstance(room_id, str) or not isinstance(user_id, str) or not isinstance(is_typing, bool):
            log.info("%s sent a malformed m.typing EDU", origin)
            return
        if not is_valid_room_id(room_id) or not is_valid_user_id(user_id):
            return
        if user_id.partition(":")[2] != origin or not (is_typing or self._users.is_typing(room_id, user_id)):
            return
        membership = await self._database.read(lambda tx: self._membership(tx, origin, room_id, user_id))
        if is_typing and membership == "join":
            self._users.start(room_id, user_id, TIMEOUT_MS)
        elif not is_typing and membership is not None:
            self._users.stop(room_id, user_id)

    async def _membership(self, tx: Transaction, origin: str, room_id: str, user_id: str) -> str | None:
        """What the user is in the room; None when nothing, or when the server may not take part in the room."""
        room = await rooms.get(tx, room_id)
        if room is None or await acl_refusal(tx, self._states, room, origin) is not None:
            return None
        return (await memberships.of_users(tx, room.room_nid, [user_id])).get(user_id)
