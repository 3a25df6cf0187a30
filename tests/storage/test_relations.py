"""The relations of events: kept for those that clients may see, from wherever they came."""

from __future__ import annotations

import importlib
from typing import Any

from homeserver.core.events import Event
from homeserver.core.stream_tokens import BEGINNING, Place, newest_place
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


async def related(
    database: Database, *wanted: tuple[Event, ...]
) -> tuple[int, dict[str, int], dict[int, Event]]:
    """Events with their relations: the room, their numbers, and them by number."""

    async def work(tx: Transaction) -> list[StoredEvent]:
        placed = await stored(tx, *(event for group in wanted for event in group))
        await relations.add(tx, placed)
        return placed

    placed = await database.write(work)
    nids = {each.event.event_id: each.nid for each in placed}
    return placed[0].room_nid, nids, {each.nid: each.event for each in placed}


async def test_children_of_several_generations(database: Database) -> None:
    root = an_event()
    first = child("m.reference", root.event_id, depth=2)
    other = child("m.thread", root.event_id, depth=2, type="org.example")
    second = child("m.reference", first.event_id, depth=3)
    third = child("m.reference", second.event_id, depth=4)
    below_other = child("m.reference", other.event_id, depth=5)
    room_nid, _, by_nid = await related(database, (root, first, other, second, third, below_other))

    async def found(backwards: bool = True, start: Place | None = None, **wanted: Any) -> list[Event]:
        asked = relations.Children(room_nid, root.event_id, **wanted)
        at = start or (newest_place(100) if backwards else BEGINNING)
        nids = await database.read(
            lambda tx: relations.children(tx, asked, start=at, backwards=backwards, limit=10)
        )
        return [by_nid[nid] for nid in nids]

    assert await found() == [other, first]
    assert await found(backwards=False) == [first, other]
    assert await found(rel_type="m.thread") == [other]
    assert await found(event_type="m.room.message") == [first]
    assert await found(rel_type="m.thread", event_type="m.room.message") == []
    assert await found(depth=2) == [below_other, second, other, first]
    assert await found(depth=3) == [below_other, third, second, other, first]
    assert await found(depth=3, rel_type="m.reference") == [below_other, third, second, first]
    assert await found(depth=3, event_type="org.example") == [other]
    assert await found(depth=3, start=Place(3, 10)) == [second, other, first]
    assert await found(depth=3, start=newest_place(3)) == [other, first]
    assert await found(depth=3, backwards=False, start=Place(3, 4)) == [third, below_other]


async def test_children_in_a_loop(database: Database) -> None:
    # Event IDs are hashes, so the loop is made by hand, as room versions 1 and 2 allow.
    one, two = child(parent="$two"), child(parent="$one")
    room_nid, nids, _ = await related(database, (one, two))

    async def work(tx: Transaction) -> list[int]:
        for name, event in (("$one", one), ("$two", two)):
            await tx.execute("UPDATE events SET event_id = $1 WHERE event_id = $2", name, event.event_id)
        asked = relations.Children(room_nid, "$one", depth=3)
        return await relations.children(tx, asked, start=newest_place(9), backwards=True, limit=9)

    assert set(await database.write(work)) == set(nids.values())


async def test_the_newest_of_each_kind(database: Database) -> None:
    root, spam = an_event(), "@spam:ours.test"
    threads = tuple(child(parent=root.event_id, depth=depth) for depth in (4, 3, 2))
    ignored = child(parent=root.event_id, depth=9, sender=spam)
    references = tuple(child("m.reference", root.event_id, depth=depth) for depth in (2, 3))
    invalid = child("m.replace", root.event_id)
    content = {"m.new_content": {}, **child("m.replace", root.event_id).content}
    edits = (an_event(content=content), an_event(content=content))
    others = an_event(content=content, sender="@bob:ours.test")
    _, nids, _ = await related(database, (root, *threads, ignored, *references, invalid, *edits, others))

    async def newest(find: Any, most: int) -> list[tuple[int, int]]:
        children = await database.read(lambda tx: find(tx, [root.event_id, "$none"], [spam], most))
        assert all(each.parent_id == root.event_id for each in children)
        return [(each.nid, each.number) for each in children]

    def numbers(*events: Event) -> list[int]:
        return [nids[event.event_id] for event in events]

    assert await newest(relations.newest_in_threads, 2) == list(
        zip(numbers(*threads[:2]), (3, 2), strict=True)
    )
    assert await newest(relations.newest_references, 9) == [(nid, 0) for nid in numbers(*references)]
    assert await newest(relations.newest_references, 1) == [(numbers(references[1])[0], 0)]
    assert await newest(relations.newest_replacements, 9) == [(nid, 0) for nid in numbers(edits[1], edits[0])]

    async def kinds(tx: Transaction) -> Any:
        return await relations.kinds(tx, [root.event_id, threads[0].event_id, "$none"])

    assert await database.read(kinds) == {root.event_id: {"m.thread", "m.replace", "m.reference"}}

    async def latest(tx: Transaction) -> Any:
        return await relations.latest_in_threads(tx, [root.event_id, threads[0].event_id, "$none"], [spam])

    assert await database.read(latest) == [relations.Child(root.event_id, nids[threads[0].event_id], 3)]
    for sender, took_part in ((spam, {root.event_id}), ("@nobody:ours.test", set())):
        found = await database.read(
            lambda tx, s=sender: relations.with_child_of(tx, [root.event_id], s, "m.thread")
        )
        assert found == took_part


async def test_threads_by_their_latest_event(database: Database) -> None:
    alice, spam = "@alice:ours.test", "@spam:ours.test"
    one, two = an_event(), an_event(sender="@bob:ours.test")
    old, new = (
        child(parent=one.event_id, depth=5),
        child(parent=two.event_id, depth=6, sender="@bob:ours.test"),
    )
    last = child(parent=one.event_id, depth=7, sender=spam)
    nested = child(parent=old.event_id, depth=8)
    room_nid, _, _ = await related(database, (one, two, old, new, last, nested, child(depth=9)))

    async def found(
        start: Place | None = None, *, ignored: tuple[str, ...] = (), participant: str | None = None
    ) -> list[tuple[str, Place]]:
        at = start or newest_place(100)
        return await database.read(
            lambda tx: relations.threads(
                tx, room_nid, start=at, ignored=ignored, participant=participant, limit=5
            )
        )

    assert await found() == [(one.event_id, Place(7, 5)), (two.event_id, Place(6, 4))]
    assert await found(ignored=(spam,)) == [(two.event_id, Place(6, 4)), (one.event_id, Place(5, 3))]
    assert await found(newest_place(4)) == [(two.event_id, Place(6, 4)), (one.event_id, Place(5, 3))]
    assert await found(Place(6, 3)) == []
    assert [root for root, _ in await found(participant=alice)] == [one.event_id]
    assert [root for root, _ in await found(participant=spam)] == [one.event_id]
