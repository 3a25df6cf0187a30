"""Units of work on what belongs to one user: told of, once committed, to the user's sessions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from homeserver.services.notifier import Committed
from homeserver.services.room_writes import Work
from homeserver.storage.database import Database, Transaction

T = TypeVar("T")


class UserWrites:
    """Runs units of work that touch no room."""

    def __init__(self, database: Database, after_commit: Callable[[Committed], None]) -> None:
        """`after_commit` wakes the /sync requests that wait."""
        self._database = database
        self._after_commit = after_commit

    async def run(self, work: Work[T]) -> T:
        """Run a unit of work, and tell of it once it is on disk, also when the caller has gone away meanwhile."""
        return await asyncio.shield(self._run(work))

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run a unit of work that only reads."""
        return await self._database.read(work)

    async def _run(self, work: Work[T]) -> T:
        result, committed = await self._database.write(work)
        if committed is not None:
            self._after_commit(committed)
        return result
