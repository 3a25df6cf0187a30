"""Units of work on a room's graph: run one after the other, repeated when the room moved, told of when committed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from homeserver.services.notifier import Committed
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import RoomMoved

T = TypeVar("T")

Work = Callable[[Transaction], Awaitable[tuple[T, Committed | None]]]
"""A repeatable unit of work; it returns its result and, when it wrote, what was committed."""

Sequel = Callable[[Transaction, Committed], Awaitable[Committed]]
"""What follows from stored events, in the same unit of work; it returns what was committed with that."""

ATTEMPTS = 20


class RoomWrites:
    """Runs units of work on rooms.

    On PostgreSQL a lock a room keeps the writers of this process from moving the room under each other; that they may still lose
    to another process is what RoomMoved and the repetition are for. SQLite runs all units one after the other anyway, and those
    of one room share a commit like any others.
    """

    def __init__(
        self,
        database: Database,
        after_commit: Callable[[Committed], None],
        sequel: Sequel | None = None,
    ) -> None:
        """`after_commit` wakes those who wait: /sync readers and the queues to other servers."""
        self._database = database
        self._after_commit = after_commit
        self._sequel = sequel
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, room_id: str, work: Work[T]) -> T:
        """Run a unit of work on a room, and tell of it once it is on disk.

        A caller that goes away (a client that hangs up) does not stop it half-way: what is committed is told of.
        """
        return await asyncio.shield(self._run(room_id, work))

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a unit of work that only reads."""
        return await self._database.read(work)

    async def _run(self, room_id: str, work: Work[T]) -> T:
        if self._database.dialect == "sqlite":
            return await self._attempts(work)
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        async with lock:
            return await self._attempts(work)

    async def _attempts(self, work: Work[T]) -> T:
        async def whole(tx: Transaction) -> tuple[T, Committed | None]:
            result, committed = await work(tx)
            if committed is not None and self._sequel is not None:
                committed = await self._sequel(tx, committed)
            return result, committed

        for attempt in range(ATTEMPTS):
            try:
                result, committed = await self._database.write(whole)
            except RoomMoved:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            if committed is not None:
                self._after_commit(committed)
            return result
        raise AssertionError("unreachable: the last attempt returns or raises")
