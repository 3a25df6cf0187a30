"""Telling rooms later of refused invites."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeserver.services import background
from homeserver.services import untold_leaves as service
from homeserver.services.untold_leaves import UntoldLeaves
from homeserver.storage import untold_leaves
from homeserver.storage.database import DatabaseError, Transaction
from homeserver.storage.out_of_room import OutOfRoom
from homeserver.storage.untold_leaves import UntoldLeave
from tests.support.federation_peer import until
from tests.support.network import until as until_async
from tests.support.rooms import open_sqlite

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"


@dataclass
class Servers:
    """Those of Alice's room cannot be looked up in the database; Bob's let us wait."""

    waiting: int = 0
    most_waiting: int = 0
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self, record: OutOfRoom) -> bool:
        if record.user_id == ALICE:
            raise DatabaseError("the connection is lost")
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        try:
            await self.answer.wait()
        finally:
            self.waiting -= 1
        return True


async def test_one_that_fails_leaves_no_other_running_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def holds(_: Transaction, leave: UntoldLeave) -> Any:
        return SimpleNamespace(user_id=leave.user_id)

    monkeypatch.setattr(service, "_still_holds", holds)
    monkeypatch.setattr(background, "RETRY_S", 0.01)
    database = await open_sqlite(tmp_path / "homeserver.db")
    for user_id in (ALICE, BOB):
        leave = UntoldLeave(user_id, "!room:theirs.test", "$leave", 1, 1)
        await database.write(lambda tx, leave=leave: untold_leaves.put(tx, leave))  # type: ignore[misc]
    servers = Servers()
    untold = UntoldLeaves(database, servers, lambda: 1_000, random.Random(1))
    untold.work.start()
    await until(lambda: servers.waiting)
    await asyncio.sleep(0.1)  # several times as long as after a failure
    assert servers.most_waiting == 1, "nobody is told twice at a time"
    await untold.work.stop()
    assert servers.waiting == 0, "what was begun has ended"
    untold.work.start()
    servers.answer.set()

    async def only_alices_is_left() -> bool:
        due = await database.read(lambda tx: untold_leaves.due(tx, 1_000, 10))
        return [each.user_id for each in due] == [ALICE]

    await until_async(only_alices_is_left, "what Bob refused is told")
    await untold.work.stop()
    await database.close()
