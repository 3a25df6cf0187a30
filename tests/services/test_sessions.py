"""Access tokens are remembered, and forgotten when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services import sessions as sessions_module
from homeserver.services.devices import Devices
from homeserver.services.last_seen import LastSeen
from homeserver.services.sessions import ClientDevice, Session, Sessions
from homeserver.storage import accounts
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction
from tests.support.rooms import open_sqlite

ALICE = "@alice:test"


class Watched:
    """A database that counts reads and can hold back what they answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.answered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        self.reads += 1
        answer = await self._database.read(work)
        self.answered.set()
        await self.go_on.wait()
        return answer

    async def write(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        return await self._database.write(work)


class World:
    def __init__(self, database: Database) -> None:
        self.now = 0
        self.database = Watched(database)
        self.sessions = Sessions(self.database, lambda: self.now)  # type: ignore[arg-type]
        last_seen = LastSeen(database, lambda: self.now)
        self.devices = Devices(self.database, self.sessions, last_seen)  # type: ignore[arg-type]

    async def start(self, device_id: str | None = None) -> Session:
        return await self.sessions.start(ALICE, ClientDevice(device_id=device_id))

    async def is_known(self, token: str) -> bool:
        try:
            return (await self.sessions.authenticate(token)).user_id == ALICE
        except MatrixError as error:
            assert error.errcode == "M_UNKNOWN_TOKEN"
            return False


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await open_sqlite(tmp_path / "homeserver.db")
    account = Account(ALICE, None, False, False, False, None, 0)
    await database.write(lambda tx: accounts.add(tx, account))
    yield World(database)
    await database.close()


async def test_a_token_is_looked_up_once_in_a_while(world: World) -> None:
    session = await world.start()
    for _ in range(5):
        assert await world.is_known(session.access_token)
    assert world.database.reads == 1
    world.now += sessions_module.CACHE_MS
    assert await world.is_known(session.access_token)
    assert world.database.reads == 2


async def test_an_unknown_token_is_not_remembered(world: World) -> None:
    assert not await world.is_known("unknown")
    assert not await world.is_known("unknown")
    assert world.database.reads == 2


async def test_a_logout_is_noticed_at_once(world: World) -> None:
    phone, laptop = await world.start("PHONE"), await world.start("LAPTOP")
    assert await world.is_known(phone.access_token) and await world.is_known(laptop.access_token)
    await world.devices.log_out(await world.sessions.authenticate(phone.access_token))
    assert not await world.is_known(phone.access_token)
    assert await world.is_known(laptop.access_token)
    await world.devices.log_out_everywhere(ALICE)
    assert not await world.is_known(laptop.access_token)


async def test_a_logout_while_a_token_is_looked_up(world: World) -> None:
    session = await world.start("PHONE")
    requester = await world.sessions.authenticate(session.access_token)
    world.now += sessions_module.CACHE_MS
    world.database.answered.clear()
    world.database.go_on.clear()
    under_way = asyncio.create_task(world.is_known(session.access_token))
    await world.database.answered.wait()
    await world.devices.log_out(requester)
    world.database.go_on.set()
    await under_way
    # What was read before the logout must not be remembered after it.
    assert not await world.is_known(session.access_token)


async def test_the_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_CACHED", 2)
    tokens = [(await world.start()).access_token for _ in range(3)]
    for token in tokens:
        assert await world.is_known(token)
    assert world.database.reads == 3
    assert await world.is_known(tokens[2]) and await world.is_known(tokens[1])
    assert world.database.reads == 3
    assert await world.is_known(tokens[0])
    assert world.database.reads == 4
