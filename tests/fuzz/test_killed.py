"""The process is killed while clients write: what was answered is there, all that is there is whole, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import quote

import aiohttp
import yaml

from homeserver.storage.database import Database, Transaction
from tests.cli.process import Process
from tests.support.client import Client
from tests.support.invariants import violations
from tests.support.network import until
from tests.support.rooms import open_sqlite
from tests.support.whole import V3, configuration, create_room, membership, register, send_path

ROUNDS = 3
WRITERS = 6
ANSWERS = 60
"""How many writes are answered before the process is killed."""

_numbers = count(1)


@dataclass
class Written:
    """What was answered 200, and the message of each writer that was not answered."""

    events: set[str] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)
    unanswered: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        """How many."""
        return len(self.events) + len(self.rooms)


@asynccontextmanager
async def started(config: Path, base_url: str) -> AsyncIterator[tuple[Process, Client]]:
    """The server as a process, and a client; killed at the end if it still runs."""
    process = Process(config)
    try:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            client = Client(session, base_url)

            async def answers() -> bool:
                assert process.process.poll() is None, process.output()
                try:
                    return (await client.get("/health")).status == 200
                except aiohttp.ClientError:
                    return False

            await until(answers, "the server answers", 60)
            yield process, client
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.wait()


async def write(client: Client, room_id: str, kind: int, written: Written) -> None:
    """Write until the server is gone."""
    room = f"{V3}/rooms/{quote(room_id)}"
    try:
        while True:
            number = next(_numbers)
            match kind:
                case 0:
                    answer = await client.post(
                        f"{V3}/createRoom",
                        {"preset": "public_chat", "name": "whole", "room_alias_name": f"r{number}"},
                    )
                    written.rooms.add(answer.ok()["room_id"])
                case 1:
                    answer = await client.put(f"{room}/state/m.room.topic/", {"topic": f"topic {number}"})
                    written.events.add(answer.ok()["event_id"])
                case 2:
                    for what in ("leave", "join"):
                        (await membership(client, room_id, what)).ok()
                case _:
                    path = send_path(room_id, f"kept{number}")
                    written.unanswered.append(path)
                    answer = await client.put(path, {"msgtype": "m.text", "body": str(number)})
                    written.events.add(answer.ok()["event_id"])
                    written.unanswered.remove(path)
    except (aiohttp.ClientError, ConnectionError):
        return


async def stored(database: Database, table: str, column: str) -> set[str]:
    """All values of a column."""

    async def work(tx: Transaction) -> set[str]:
        return {row[0] for row in await tx.fetch(f"SELECT {column} FROM {table}")}

    return await database.read(work)


async def check(database_path: Path, written: Written) -> None:
    """What was answered is there, and all that is there is whole."""
    database = await open_sqlite(database_path)
    try:
        assert await violations(database) == []
        sound = await database.read(lambda tx: tx.fetch_value("PRAGMA integrity_check"))
        assert sound == "ok"
        assert written.events <= await stored(database, "events", "event_id")
        assert written.rooms <= await stored(database, "rooms", "room_id")
        named = "SELECT count(*) FROM events WHERE type = 'm.room.name'"
        # Each room has all that it was created with: its name (but the first room has none) and its alias.
        rooms = len(await stored(database, "rooms", "room_id"))
        assert await database.read(lambda tx: tx.fetch_value(named)) == rooms - 1
        assert len(await stored(database, "room_aliases", "alias")) == rooms - 1
    finally:
        await database.close()


async def test_killed_while_writing(tmp_path: Path) -> None:
    config = tmp_path / "homeserver.yaml"
    settings = configuration(tmp_path, 160)
    config.write_text(yaml.safe_dump(settings))
    database_path = Path(settings["database"]["args"]["database"])
    written = Written()
    people: list[Client] = []
    room_id = ""
    for _ in range(ROUNDS):
        async with started(config, settings["public_baseurl"].rstrip("/")) as (process, client):
            if not people:
                people = [await register(client, name) for name in ("alice", "bob")]
                room_id = await create_room(people[0])
            alice, bob = (client.with_token(each.access_token, each.user_id) for each in people)
            (await membership(bob, room_id, "join")).ok()
            await repeat(alice, written)
            before = written.answers
            writers = [
                asyncio.create_task(write(bob if kind == 2 else alice, room_id, kind, written))
                for kind in range(WRITERS)
            ]

            async def enough(before: int = before) -> bool:
                return written.answers >= before + ANSWERS

            await until(enough, "enough is written", 60)
            process.process.kill()
            process.process.wait()
            async with asyncio.timeout(30):
                await asyncio.gather(*writers)
        await check(database_path, written)
    assert len(written.rooms) > ROUNDS and len(written.events) > ANSWERS


async def repeat(client: Client, written: Written) -> None:
    """Send what was not answered once more, twice: it is one event, whether it was stored before or not."""
    for path in written.unanswered:
        number = path.rpartition("kept")[2]
        ids = [
            (await client.put(path, {"msgtype": "m.text", "body": number})).ok()["event_id"] for _ in range(2)
        ]
        assert ids[0] == ids[1]
        written.events.add(ids[0])
        found = await client.get(
            f"{V3}/rooms/{path.split('/rooms/')[1].split('/')[0]}/messages?dir=b&limit=200"
        )
        bodies = [event["content"].get("body") for event in found.ok()["chunk"]]
        assert bodies.count(number) == 1, json.dumps(bodies)
    written.unanswered.clear()
