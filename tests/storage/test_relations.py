"""The relations of events: kept for those that clients may see, from wherever they came."""

from __future__ import annotations

import importlib
from typing import Any

from homeserver.core.events import Event
from homeserver.storage import events, relations, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from tests.support.stored_rooms import an_event

PARENT = "$parent"


def child(rel_type: str = "m.thread", parent: str = PARENT, **more: Any) -> Event:
    key = {"key": more.pop("key")} if "key" in more else {}
    content = {"m.relates_to": {"rel_type": rel_type, "event_id": parent, **key}}
    return an_event(content=content, **more)


async def stored(tx: Transaction, *children: Event) -> list[StoredEvent]:
    room = await rooms.get(tx, "!room:ours.test") or await rooms.create(tx, "!room:ours.test", "11")
    first = int(await tx.fetch_value("SELECT COALESCE(MAX(position), 0) FROM events")) + 1
    new = [
        NewEvent(event, position, EventStatus.ACCEPTED, None, b"b" * 16, b"a" * 16)
        for position, event in enumerate(children, start=first)
    ]
    nids = await events.place_many(tx, room.room_nid, new)
    return [events.as_stored(each, nids[each.event.event_id], room.room_nid) for each in new]


async def parents(database: Database) -> list[tuple[str, str, str | None]]:
    async def work(tx: Transaction) -> list[tuple[str, str, str | None]]:
        rows = await tx.fetch(
            "SELECT parent_id, rel_type, relation_key FROM event_relations ORDER BY position"
        )
        return [(row[0], row[1], row[2]) for row in rows]

    return await database.read(work)


async def test_relations_are_kept_once_and_removed(database: Database) -> None:
    kinds = [child(), child("m.annotation", key="👍"), child("m.annotation", key="a\0b"), child("x\0y")]

    async def work(tx: Transaction) -> list[StoredEvent]:
        placed = await stored(tx, *kinds, an_event())
        await relations.add(tx, placed)
        await relations.add(tx, placed)
        return placed

    placed = await database.write(work)
    assert await parents(database) == [
        (PARENT, "m.thread", None),
        (PARENT, "m.annotation", "👍"),
        (PARENT, "m.annotation", None),
    ]
    await database.write(lambda tx: relations.remove(tx, placed[0]))
    assert [rel_type for _, rel_type, _ in await parents(database)] == ["m.annotation", "m.annotation"]


async def test_the_migration_finds_the_events_that_there_are(database: Database) -> None:
    migration = importlib.import_module("homeserver.storage.migrations.0060_relations")
    number = events.BATCH + 2

    async def work(tx: Transaction) -> None:
        await stored(tx, *(child(key="x", depth=depth) for depth in range(1, number + 1)), an_event())
        room = await rooms.get(tx, "!room:ours.test")
        assert room is not None
        await events.insert_many(tx, room.room_nid, [NewEvent(child())])  # no place: nobody sees it
        await events.place_many(
            tx, room.room_nid, [NewEvent(child(), 10**6, EventStatus.SOFT_FAILED, "x", b"b" * 16, b"a" * 16)]
        )
        await tx.execute("DROP TABLE event_relations")
        await migration.migrate(tx)

    await database.write(work)
    assert await parents(database) == [(PARENT, "m.thread", None)] * number
