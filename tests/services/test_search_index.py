"""The full-text index follows the events in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homeserver.services import search_index
from homeserver.services.notifier import Committed
from homeserver.services.search_index import SearchIndex
from homeserver.storage import positions, search
from homeserver.storage.database import Database, Transaction
from tests.support.network import until
from tests.support.rooms import RoomServices

ALICE = "@alice:ours.test"


@asynccontextmanager
async def following(database: Database) -> AsyncIterator[SearchIndex]:
    """An index that runs, and does not wait for more."""
    index = SearchIndex(database, gather_s=0)
    index.work.start()
    try:
        yield index
    finally:
        await index.work.stop()


async def reached(database: Database, position: int) -> None:
    """Wait until the index has come to a position."""

    async def has_come() -> bool:
        return (await database.read(search.progress)).newest >= position

    await until(has_come, f"the index comes to {position}")


async def test_it_takes_in_what_there_is_and_what_comes(services: RoomServices) -> None:
    database = services.database
    room_id = await services.room(ALICE)
    for number in range(3):
        await services.say(room_id, ALICE, f"{number}")
    async with following(database) as index:
        await reached(database, await database.read(positions.current))
        await services.say(room_id, ALICE, "more")
        position = await database.read(positions.current)
        index.committed(Committed(position))
        index.committed(services.committed[-1])
        await reached(database, position)
    # It goes on from where it stopped.
    await services.say(room_id, ALICE, "later")
    async with following(database):
        await reached(database, await database.read(positions.current))


async def test_a_search_brings_it_up_only_so_far(
    services: RoomServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "BATCH", 1)
    monkeypatch.setattr(search_index, "BATCHES_BEFORE_SEARCH", 2)
    room_id = await services.room(ALICE)
    for number in range(3):
        await services.say(room_id, ALICE, f"{number}")
    now = await services.database.read(positions.current)
    index = SearchIndex(services.database)
    await index.catch_up()
    assert (await services.database.read(search.progress)).newest == now - 1
    await index.catch_up()
    assert (await services.database.read(search.progress)).newest == now


async def test_a_failure_is_told_and_tried_again(
    services: RoomServices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room_id = await services.room(ALICE)
    await services.say(room_id, ALICE, "hello")
    failed = asyncio.Event()
    unindexed = search.unindexed

    async def failing(tx: Transaction, limit: int) -> Any:
        if not failed.is_set():
            loop.call_soon_threadsafe(failed.set)
            raise OSError("the disk is gone")
        return await unindexed(tx, limit)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(search, "unindexed", failing)
    with caplog.at_level(logging.ERROR):
        async with following(services.database) as index:
            await failed.wait()
            position = await services.database.read(positions.current)
            index.committed(services.committed[-1])
            await reached(services.database, position)
    assert "the search index could not be brought up to date" in caplog.text
