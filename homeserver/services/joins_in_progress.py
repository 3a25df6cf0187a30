"""Which rooms are being joined at the moment through other servers.

From the moment a resident server has taken our join, others send us the room's events; we can take them only when the room's state
is here. So what comes for such a room waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class JoinsInProgress:
    """The rooms that are being joined."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def joining(self, room_id: str) -> AsyncIterator[None]:
        """While this lasts the room is being joined; a second one waits until the first is over."""
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        self._users[room_id] = self._users.get(room_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[room_id] -= 1
            if not self._users[room_id]:
                del self._users[room_id], self._locks[room_id]

    async def wait(self, room_id: str) -> bool:
        """Return once the room is not being joined any more; whether it was."""
        lock = self._locks.get(room_id)
        if lock is None:
            return False
        async with lock:
            return True
