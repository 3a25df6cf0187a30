"""What sending and receiving costs: statements in a unit of work, and commits. Counted, because times depend on the machine."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from homeserver.core.requester import Requester
from homeserver.services.event_access import SeenEvent
from homeserver.services.push.evaluation import Evaluation
from homeserver.services.room_writes import RoomWrites
from homeserver.services.timeline import ClientTransaction, Draft, Timeline
from homeserver.storage import events as stored_events
from homeserver.storage.database import Database, Row, Transaction
from tests.support.graph import end_of, event_after, joined_from, offer, stored
from tests.support.rooms import RoomServices

ALICE, BOB = "@alice:ours.test", "@bob:beta.test"
TEXT = {"msgtype": "m.text", "body": "hello"}


class CountingTransaction:
    """A transaction that notes the statements that it is given."""

    def __init__(self, tx: Transaction, statements: list[str]) -> None:
        self._tx = tx
        self._statements = statements
        self.dialect = tx.dialect

    def _note(self, sql: str) -> None:
        self._statements.append(sql)

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        self._note(sql)
        return await self._tx.fetch(sql, *args)

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        self._note(sql)
        return await self._tx.fetch_one(sql, *args)

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        self._note(sql)
        return await self._tx.fetch_value(sql, *args)

    async def execute(self, sql: str, *args: Any) -> int:
        self._note(sql)
        return await self._tx.execute(sql, *args)

    async def execute_many(self, sql: str, rows: Any) -> None:
        rows = list(rows)
        if rows:
            self._note(sql)
        await self._tx.execute_many(sql, rows)


class CountingDatabase:
    """A database whose writers' statements are noted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.statements: list[str] = []

    async def read(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        return await self._database.read(work)

    async def write(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        return await self._database.write(lambda tx: work(CountingTransaction(tx, self.statements)))

    async def close(self) -> None:
        await self._database.close()


@pytest.fixture
def counted(services: RoomServices) -> CountingDatabase:
    """Counts what the services write from here on."""
    database = CountingDatabase(services.database)
    evaluation = Evaluation(services.states, services.server_name, services.clock)
    services.writes = RoomWrites(database, services._after_commit, evaluation.follow)
    services.timeline = Timeline(services.writes, services.states, services.identity, services.clock)
    return database


@pytest.mark.parametrize("version", ["6", "12"])
async def test_a_message(services: RoomServices, counted: CountingDatabase, version: str) -> None:
    room_id = await services.room(ALICE, version)
    await joined_from(services, room_id, BOB)
    await services.say(room_id, ALICE, "warm")
    counted.statements.clear()
    await services.say(room_id, ALICE, "hello")
    # the room, its ends, what authorises it; the room's version, the position, the event, the end; servers and outbox;
    # who has changed push rules, and that the sender has read the room
    assert len(counted.statements) == 11, counted.statements
    counted.statements.clear()
    transaction = ClientTransaction(ALICE, "DEVICE", "send", "1")
    await services.timeline.send(room_id, Draft(ALICE, "m.room.message", TEXT), transaction=transaction)
    assert len(counted.statements) == 13, counted.statements


async def test_a_message_to_many(services: RoomServices, counted: CountingDatabase) -> None:
    """Whom a message notifies is one statement more, however many they are."""
    room_id = await services.room(ALICE)
    for number in range(30):
        await services.join(room_id, f"@user{number}:ours.test")
    await services.say(room_id, ALICE, "warm")
    counted.statements.clear()
    await services.say(room_id, ALICE, "hello")
    assert len(counted.statements) == 11, counted.statements
    assert sum("INTO notifications" in each for each in counted.statements) == 1
    assert not any("own_notifications" in each for each in counted.statements)
    assert len(services.committed[-1].notified) == 30


async def test_what_is_bundled_takes_as_many_statements_for_few_events_as_for_many(
    services: RoomServices,
) -> None:
    room_id = await services.room(ALICE)
    requester = Requester(ALICE, "DEVICE", 1)

    async def relate(rel_type: str, parent: str) -> None:
        relation = {"rel_type": rel_type, "event_id": parent}
        content = {**TEXT, "m.relates_to": relation, "m.new_content": {}}
        await services.timeline.send(room_id, Draft(ALICE, "m.room.message", content))

    async def statements(parents: list[str]) -> int:
        noted: list[str] = []

        async def work(tx: Transaction) -> None:
            counted = CountingTransaction(tx, noted)
            found = await stored_events.get_many(tx, parents)
            seen = [SeenEvent(each, "join") for each in found.values()]
            rendered = await services.client_events.render_bundled(counted, requester, seen)
            assert all(kind in bytes(raw) for raw in rendered for kind in kinds)

        await services.database.read(work)
        return len(noted)

    parents = [await services.say(room_id, ALICE, str(number)) for number in range(20)]
    kinds = [b"age"]
    assert await statements(parents) == await statements(parents[:1])
    for parent in parents:
        for rel_type in ("m.thread", "m.replace", "m.reference"):
            await relate(rel_type, parent)
    kinds = [b"m.thread", b"m.replace", b"m.reference"]
    assert await statements(parents) == await statements(parents[:1])


async def test_a_message_that_a_client_repeats(services: RoomServices, counted: CountingDatabase) -> None:
    room_id = await services.room(ALICE)
    transaction = ClientTransaction(ALICE, "DEVICE", "send", "1")
    draft = Draft(ALICE, "m.room.message", TEXT)
    await services.timeline.send(room_id, draft, transaction=transaction)
    counted.statements.clear()
    await services.timeline.send(room_id, draft, transaction=transaction)
    assert len(counted.statements) == 1, counted.statements


async def test_state(services: RoomServices, counted: CountingDatabase) -> None:
    room_id = await services.room(ALICE)
    await services.timeline.send(room_id, Draft(ALICE, "m.room.topic", {"topic": "a"}, ""))
    counted.statements.clear()
    await services.timeline.send(room_id, Draft(ALICE, "m.room.topic", {"topic": "b"}, ""))
    # nobody to send it to, but: the present topic, the new state map (checked and stored), when it came into force
    assert len(counted.statements) == 12, counted.statements


async def test_an_event_of_another_server(services: RoomServices, counted: CountingDatabase) -> None:
    room_id = await services.room(ALICE)
    await joined_from(services, room_id, BOB)
    first = await event_after(
        services, room_id, [await end_of(services, room_id)], BOB, "m.room.message", TEXT
    )
    await offer(services, room_id, first)
    second = await event_after(services, room_id, [first], BOB, "m.room.message", TEXT)
    counted.statements.clear()
    await offer(services, room_id, second)
    # the room, its ends, the event and what it refers to; whether it fills a gap; the room's version, the position, the event,
    # the end; redactions that wait for it; who has changed push rules, and whom it notifies
    assert len(counted.statements) == 11, counted.statements


async def test_many_events_of_another_server(services: RoomServices, counted: CountingDatabase) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    first = await event_after(services, room_id, [join], BOB, "m.room.message", TEXT)
    auth = [(await stored(services, event_id)).event for event_id in first.auth_event_ids]
    events = [first]
    for _ in range(49):
        events.append(
            await event_after(services, room_id, events[-1:], BOB, "m.room.message", TEXT, auth=auth)
        )
    counted.statements.clear()
    await offer(services, room_id, *events)
    # for each whether it is known and whether it fills a gap
    assert len(counted.statements) <= 2 * len(events) + 11, len(counted.statements)
    assert not [sql for sql in counted.statements if "RETURNING event_nid" in sql]


async def test_senders_in_one_room_share_commits(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    commits = 0
    run = services.database._run_batch  # type: ignore[attr-defined]

    def counting() -> Any:
        nonlocal commits
        commits += 1
        return run()

    services.database._run_batch = counting  # type: ignore[attr-defined]
    sent = await asyncio.gather(*(services.say(room_id, ALICE, str(number)) for number in range(50)))
    assert len(set(sent)) == 50
    assert commits < 10
