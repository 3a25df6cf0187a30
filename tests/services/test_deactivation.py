"""A deactivated user leaves all rooms, also when the server is stopped meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from homeserver.core.errors import forbidden
from homeserver.services import background
from homeserver.services.confirmation import Confirmation
from homeserver.services.deactivation import Deactivation
from homeserver.services.devices import Devices
from homeserver.storage import accounts, memberships, rooms
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, DatabaseError, Transaction
from homeserver.storage.memberships import Change
from tests.support.network import until
from tests.support.rooms import open_sqlite

ALICE = "@alice:test"


async def deactivated(database: Database, room_ids: list[str]) -> None:
    """A deactivated user who is still in these rooms."""

    async def work(tx: Transaction) -> None:
        await accounts.add(tx, Account(ALICE, None, False, False, False, None, 0))
        await accounts.deactivate(tx, ALICE)
        for room_id in room_ids:
            room = await rooms.create(tx, room_id, "10")
            change = Change(ALICE, "join", f"$joined-{room_id}", ALICE)
            await memberships.apply(tx, room.room_nid, [change], room.room_nid)

    await database.write(work)


async def all_left(database: Database) -> None:
    """Wait until nobody who is deactivated is still to leave a room."""

    async def is_done() -> bool:
        return not await database.read(accounts.leaving)

    await until(is_done, "the user has left all rooms")


async def test_the_next_run_goes_on(tmp_path: Path) -> None:
    database = await open_sqlite(tmp_path / "homeserver.db")
    await deactivated(database, ["!a:test", "!b:test", "!c:test"])
    left: list[str] = []
    stopped = asyncio.Event()

    async def leave_room(user_id: str, room_id: str) -> None:
        if room_id == "!b:test" and not stopped.is_set():
            stopped.set()
            await asyncio.Event().wait()
        if room_id == "!b:test":
            raise forbidden("You are not in this room")
        left.append(room_id)

    def service() -> Deactivation:
        return Deactivation(database, cast(Confirmation, None), cast(Devices, None), leave_room)

    first = service()
    first.work.start()
    await stopped.wait()
    await first.work.stop()
    assert left == ["!a:test"] and await database.read(accounts.leaving) == [ALICE]
    second = service()
    second.work.start()
    await all_left(database)
    assert left == ["!a:test", "!a:test", "!c:test"]
    await second.work.stop()
    await database.close()


async def test_what_fails_for_now_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRY_S", 0.01)
    database = await open_sqlite(tmp_path / "homeserver.db")
    await deactivated(database, ["!a:test", "!b:test", "!c:test"])
    left: list[str] = []
    failures: list[Exception] = [DatabaseError("the disk is full"), RuntimeError("a fault in this one room")]

    async def leave_room(user_id: str, room_id: str) -> None:
        if room_id == "!b:test" and failures:
            raise failures.pop(0)
        left.append(room_id)

    service = Deactivation(database, cast(Confirmation, None), cast(Devices, None), leave_room)
    service.work.start()
    await all_left(database)
    # A database that fails has all tried again; what goes wrong in one room leaves the others as they are.
    assert left == ["!a:test", "!a:test", "!c:test"]
    await service.work.stop()
    await database.close()
