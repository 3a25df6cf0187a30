"""While the database cannot be used everybody is told so soon, and afterwards everything goes on by itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.app import base
from homeserver.services import background, presence_news
from homeserver.storage.database import Database, DatabaseSettings, open_database, sqlite
from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.postgresql import PostgreSQLOutage
from tests.support.whole import (
    V3,
    Conversation,
    WholeServer,
    conversation,
    join_via,
    rename,
    say,
    send_path,
    sync,
)

PATIENCE_S = 30.0
PATIENCE_MS = 30_000


async def texts(client: Client, room_id: str, since: str, wanted: set[str]) -> None:
    """Follow /sync until these messages have come, as clients do: after an error they ask again."""
    async with asyncio.timeout(PATIENCE_S):
        while wanted:
            answer = await client.get(f"{V3}/sync?since={since}&timeout={PATIENCE_MS}")
            if answer.status == 500:
                answer.refused(500, "M_UNKNOWN")
                continue
            since = answer.ok()["next_batch"]
            room = answer.body.get("rooms", {}).get("join", {}).get(room_id, {"timeline": {"events": []}})
            wanted = wanted - {event["content"].get("body") for event in room["timeline"]["events"]}


async def refused(*requests: Coroutine[Any, Any, Answer]) -> None:
    """Each is answered soon, with an error."""
    async with asyncio.timeout(PATIENCE_S):
        for answer in await asyncio.gather(*requests):
            answer.refused(500, "M_UNKNOWN")


def writing(client: Client, room_id: str) -> list[Coroutine[Any, Any, Answer]]:
    """Requests that cannot be answered when there is no room for what they bring, or no writing at all."""
    message = {"msgtype": "m.text", "body": "lost" * 10_000}
    return [
        client.put(send_path(room_id), message),
        client.post(f"{V3}/createRoom", {"topic": "x" * 20_000}),
    ]


def coming_online(client: Client) -> Coroutine[Any, Any, Answer]:
    """A request that writes little."""
    return client.get(f"{V3}/sync?timeout=0")


def reading(client: Client, room_id: str) -> list[Coroutine[Any, Any, Answer]]:
    """Requests that cannot be answered when nothing can be read."""
    return [
        client.get(f"{V3}/sync?timeout={PATIENCE_MS}&set_presence=offline"),
        client.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b"),
        client.get(f"{V3}/joined_rooms"),
    ]


@asynccontextmanager
async def going_on(ours: WholeServer, theirs: WholeServer) -> AsyncIterator[Conversation]:
    """What happens within this is over when it ends: what was meant to come meanwhile comes, and all goes on."""
    here = await conversation(ours)
    carol = await join_via(ours, theirs, "carol", here.room_id)
    since = [(await sync(client))["next_batch"] for client in (here.bob, carol)]
    following = asyncio.create_task(texts(here.bob, here.room_id, since[0], {"meanwhile", "after"}))
    await say(carol, here.room_id, "meanwhile")
    yield here
    await say(here.alice, here.room_id, "after")
    await following
    await texts(carol, here.room_id, since[1], {"after"})
    await rename(here.alice, "Alice the second", here.room_id)
    presence = f"{V3}/presence/{quote(here.alice.user_id)}/status"
    async with asyncio.timeout(PATIENCE_S):
        while (await here.bob.get(presence)).ok()["presence"] != "online":
            pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is tried again soon, and a lock is not waited for for long."""
    monkeypatch.setattr(background, "RETRY_S", 0.5)
    monkeypatch.setattr(presence_news, "RETRY_S", 0.5)
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)


async def test_postgresql_goes_away_and_comes_back(
    authority: Authority, tmp_path: Path, outage: PostgreSQLOutage
) -> None:
    await outage.server.execute("CREATE DATABASE homeserver")
    more = {"database": {"name": "psycopg2", "args": outage.server.arguments("homeserver")}}
    async with (
        WholeServer(authority, tmp_path, None, more=more) as ours,
        WholeServer(authority, tmp_path, None, number=151) as theirs,
        going_on(ours, theirs) as here,
    ):
        outage.begin()
        await refused(
            coming_online(here.alice),
            *writing(here.alice, here.room_id),
            *reading(here.bob, here.room_id),
        )
        await asyncio.to_thread(outage.end)


async def test_another_process_locks_the_database_for_a_while(authority: Authority, tmp_path: Path) -> None:
    async with (
        WholeServer(authority, tmp_path, None) as ours,
        WholeServer(authority, tmp_path, None, number=151) as theirs,
        going_on(ours, theirs) as here,
    ):
        with closing(sqlite3.connect(ours.database_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await refused(coming_online(here.alice), *writing(here.alice, here.room_id))
            other.execute("ROLLBACK")


async def test_the_disk_is_full_for_a_while(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Database] = []

    async def noted(settings: DatabaseSettings) -> Database:
        opened.append(await open_database(settings))
        return opened[-1]

    monkeypatch.setattr(base, "open_database", noted)
    async with (
        WholeServer(authority, tmp_path, None) as ours,
        WholeServer(authority, tmp_path, None, number=151) as theirs,
        going_on(ours, theirs) as here,
    ):
        # SQLite then says what it says of a disk; the unit that sets it fits.
        await opened[0].write(lambda tx: tx.fetch("PRAGMA max_page_count = 1"))
        await refused(*writing(here.alice, here.room_id))
        await coming_online(here.alice)  # which fits, or not
        await opened[0].write(lambda tx: tx.fetch("PRAGMA max_page_count = 1000000000"))
