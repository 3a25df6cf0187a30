"""Our users begin and end to type.

Spec: https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from homeserver.core.errors import forbidden
from homeserver.core.requester import Requester
from homeserver.services.event_access import joined_room
from homeserver.services.notifier import Committed
from homeserver.services.sender import Sender
from homeserver.services.typing_users import TypingUsers
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, DatabaseError, Transaction

log = logging.getLogger(__name__)

TYPING: Final = "m.typing"
"""The type of the event for clients and of the EDU for servers."""

DEFAULT_TIMEOUT_MS: Final = 30_000
MAX_TIMEOUT_MS: Final = 120_000
REPEAT_S: Final = 40
"""The EDU has no time-out: servers take a user who is not heard of for a minute or so to have stopped. So it is repeated."""


class Typing:
    """Takes what our clients tell, and tells the other servers in the room."""

    def __init__(self, database: Database, users: TypingUsers, sender: Sender, server_name: str) -> None:
        self._database = database
        self._users = users
        self._sender = sender
        self._server_name = server_name
        self._repeating: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._checks: set[asyncio.Task[None]] = set()

    async def set(self, requester: Requester, user_id: str, room_id: str, timeout_ms: int) -> None:
        """The user is typing in the room for so long; 0: no more. Raises M_FORBIDDEN for other users and other rooms.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
        """
        if requester.user_id != user_id:
            raise forbidden("Whether another user is typing is not yours to say")

        async def work(tx: Transaction) -> list[str]:
            room = await joined_room(tx, room_id, user_id)
            return await memberships.joined_servers(tx, room.room_nid)

        servers = [name for name in await self._database.read(work) if name != self._server_name]
        if timeout_ms <= 0:
            self._users.stop(room_id, user_id)
            return
        on_end = partial(self._ended, servers, room_id, user_id)
        if self._users.start(room_id, user_id, min(timeout_ms, MAX_TIMEOUT_MS), on_end):
            self._announce(servers, room_id, user_id)

    def committed(self, news: Committed) -> None:
        """Something has changed in rooms: who has left one is not typing in it any more."""
        for room_id in news.rooms:
            moved = [user_id for user_id in news.users if self._users.is_typing(room_id, user_id)]
            if moved:
                check = asyncio.create_task(self._stop_unless_joined(room_id, moved))
                self._checks.add(check)
                check.add_done_callback(self._checks.discard)

    async def stop(self) -> None:
        """Tell nobody any more."""
        for timer in self._repeating.values():
            timer.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    def _announce(self, servers: Sequence[str], room_id: str, user_id: str) -> None:
        self._tell(servers, room_id, user_id, is_typing=True)
        self._repeating[room_id, user_id] = asyncio.get_running_loop().call_later(
            REPEAT_S, self._announce, servers, room_id, user_id
        )

    def _ended(self, servers: Sequence[str], room_id: str, user_id: str) -> None:
        timer = self._repeating.pop((room_id, user_id), None)
        if timer is not None:
            timer.cancel()
        self._tell(servers, room_id, user_id, is_typing=False)

    def _tell(self, servers: Sequence[str], room_id: str, user_id: str, *, is_typing: bool) -> None:
        content: dict[str, Any] = {"room_id": room_id, "user_id": user_id, "typing": is_typing}
        self._sender.queue_edu(servers, TYPING, content, replaces=(room_id, user_id))

    async def _stop_unless_joined(self, room_id: str, user_ids: Sequence[str]) -> None:
        async def work(tx: Transaction) -> dict[str, str]:
            room = await rooms.get(tx, room_id)
            return await memberships.of_users(tx, room.room_nid, user_ids) if room else {}

        members: dict[str, str] = {}
        try:
            members = await self._database.read(work)
        except DatabaseError as error:
            # Who is in the room still types on, and says so again.
            log.warning("who is still in %s could not be seen, so nobody there is typing: %s", room_id, error)
        for user_id in user_ids:
            if members.get(user_id) != "join":
                self._users.stop(room_id, user_id)
