"""Events: stored once, with or without a place; found by ID, by position and by depth; redacted for good."""

from dataclasses import replace

import pytest

from homeserver.core.events import Event, redact
from homeserver.core.stream_tokens import Place
from homeserver.storage import events, rooms
from homeserver.storage.database import ConstraintViolation, Database, Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from tests.support.stored_rooms import an_event

BEFORE, AFTER = b"b" * 16, b"a" * 16


async def make(database: Database, room_id: str = "!room:ours.test", version: str = "11") -> int:
    return (await database.write(lambda tx: rooms.create(tx, room_id, version))).room_nid


async def place(database: Database, nid: int, *new: NewEvent) -> dict[str, int]:
    return await database.write(lambda tx: events.place_many(tx, nid, new))


async def insert(database: Database, nid: int, *new: NewEvent) -> None:
    await database.write(lambda tx: events.insert_many(tx, nid, new))


async def get(database: Database, event: Event) -> StoredEvent | None:
    return await database.read(lambda tx: events.get(tx, event.event_id))


def placed(event: Event, position: int, status: EventStatus = EventStatus.ACCEPTED) -> NewEvent:
    return NewEvent(event, position, status, None, BEFORE, AFTER)


async def test_an_event_comes_back_as_it_was(database: Database) -> None:
    nid = await make(database)
    event = an_event(type="m.room.topic", content={"topic": "a\0b 🙂"}, state_key="", depth=7)
    new = NewEvent(event, 3, EventStatus.SOFT_FAILED, "v11 5: not in the room", BEFORE, AFTER)
    nids = await place(database, nid, new)
    found = await get(database, event)
    assert found == StoredEvent(
        event, nids[event.event_id], nid, 3, EventStatus.SOFT_FAILED, new.reason, BEFORE, AFTER, None
    )
    assert found.event.canonical == event.canonical and found.event.content == event.content
    assert not found.is_outlier


@pytest.mark.parametrize("event_id", ["$none", "", "$nul\0", "$lone\ud800"])
async def test_any_text_may_be_asked_for(database: Database, event_id: str) -> None:
    assert await database.read(lambda tx: events.get(tx, event_id)) is None
    assert await database.read(lambda tx: events.get_many(tx, [event_id])) == {}
    assert await database.read(lambda tx: events.known(tx, [event_id])) == {}
    assert await database.read(lambda tx: events.load_accepted(tx, [event_id])) == {}


async def test_a_reason_that_quotes_nul(database: Database) -> None:
    nid, event = await make(database), an_event()
    await place(database, nid, NewEvent(event, 1, EventStatus.REJECTED, "the join rule is a\0b"))
    found = await get(database, event)
    assert found is not None and found.reason == "the join rule is a␀b"


async def test_one_and_many_get_their_numbers(database: Database) -> None:
    nid = await make(database)
    first, *others = (an_event() for _ in range(600))
    one = await place(database, nid, placed(first, 1))
    many = await place(
        database, nid, *(placed(event, position) for position, event in enumerate(others, start=2))
    )
    assert set(one | many) == {event.event_id for event in (first, *others)}
    assert len(set((one | many).values())) == 600
    found = await database.read(lambda tx: events.get_many(tx, [*one, *many, *one]))
    assert {event_id: stored.nid for event_id, stored in found.items()} == one | many
    assert len(await database.read(lambda tx: events.known(tx, list(many)))) == 599
    assert len(await database.read(lambda tx: events.load_accepted(tx, list(many)))) == 599
    assert await database.read(lambda tx: events.get_many(tx, [])) == {}
    stored = list(found.values())[:3]
    by_nid = await database.read(lambda tx: events.by_nids(tx, [*(each.nid for each in stored), 10**9]))
    assert by_nid == {each.nid: each for each in stored}
    assert await database.read(lambda tx: events.by_nids(tx, [])) == {}


async def test_an_outlier_gets_its_place_and_keeps_its_number(database: Database) -> None:
    nid, event = await make(database), an_event()
    outlier = NewEvent(event, status=EventStatus.REJECTED, reason="no")
    await insert(database, nid, outlier)
    before = await get(database, event)
    assert before is not None and before.is_outlier and before.reason == "no"
    known = await database.read(lambda tx: events.known(tx, [event.event_id]))
    assert known[event.event_id].is_outlier and known[event.event_id].status is EventStatus.REJECTED
    assert await place(database, nid, placed(event, 4)) == {event.event_id: before.nid}
    after = await get(database, event)
    assert after == replace(
        before, position=4, status=EventStatus.ACCEPTED, reason=None, state_before=BEFORE, state_after=AFTER
    )


@pytest.mark.parametrize("several", [False, True])
async def test_what_has_a_place_keeps_it(database: Database, several: bool) -> None:
    nid, event = await make(database), an_event()
    nids = await place(database, nid, placed(event, 4))
    more = [placed(an_event(), 6)] if several else []
    again = await place(database, nid, placed(event, 5, EventStatus.REJECTED), *more)
    assert again[event.event_id] == nids[event.event_id]
    await insert(database, nid, NewEvent(event, status=EventStatus.REJECTED))
    found = await get(database, event)
    assert found is not None and (found.position, found.status) == (4, EventStatus.ACCEPTED)


async def test_the_outlier_of_another_room_stays_one(database: Database) -> None:
    here, there = await make(database), await make(database, "!there:ours.test")
    event = an_event("!there:ours.test")
    await insert(database, there, NewEvent(event))
    await place(database, here, placed(event, 1))
    found = await get(database, event)
    assert found is not None and found.is_outlier and found.room_nid == there


async def test_what_rules_may_build_on(database: Database) -> None:
    nid = await make(database)
    made = {status: an_event() for status in EventStatus}
    await place(database, nid, *(placed(event, status + 1, status) for status, event in made.items()))
    found = await database.read(lambda tx: events.load_accepted(tx, [e.event_id for e in made.values()]))
    assert set(found) == {
        event.event_id for status, event in made.items() if status is not EventStatus.REJECTED
    }


async def test_a_redacted_event_is_redacted_for_good(database: Database) -> None:
    nid, event = await make(database), an_event()
    await insert(database, nid, NewEvent(event))
    await database.write(lambda tx: events.set_redacted(tx, redact(event), "$redaction"))
    found = await get(database, event)
    assert found is not None and found.redacted_by == "$redaction"
    assert found.event.content == {} and found.event.event_id == event.event_id
    await database.write(lambda tx: events.set_status(tx, event.event_id, EventStatus.WITHHELD))
    found = await get(database, event)
    assert found is not None and found.status is EventStatus.WITHHELD


async def test_what_redacted_events(database: Database) -> None:
    nid = await make(database)
    target, other, redaction = an_event(), an_event(depth=2), an_event(type="m.room.redaction", depth=3)
    lost = an_event(depth=4)
    await insert(database, nid, *(NewEvent(event) for event in (target, other, redaction, lost)))

    async def apply(tx: Transaction) -> None:
        await events.set_redacted(tx, redact(target), redaction.event_id)
        await events.set_redacted(tx, redact(lost), "$a_redaction_that_is_not_here")

    await database.write(apply)
    asked = [event.event_id for event in (target, other, lost)]
    found = await database.read(lambda tx: events.redactions_of(tx, asked))
    assert found == {target.event_id: redaction}
    assert await database.read(lambda tx: events.redactions_of(tx, [])) == {}


async def test_redactions_wait_for_their_targets_once(database: Database) -> None:
    async def wait(tx: Transaction) -> None:
        for target, redaction in (("$a", "$1"), ("$a", "$2"), ("$a", "$2"), ("$b", "$3")):
            await events.add_pending_redaction(tx, target, redaction)

    await database.write(wait)
    taken = await database.write(lambda tx: events.take_pending_redactions(tx, ["$a", "$c"]))
    assert {target: sorted(ids) for target, ids in taken.items()} == {"$a": ["$1", "$2"]}
    assert await database.write(lambda tx: events.take_pending_redactions(tx, ["$a"])) == {}
    assert await database.write(lambda tx: events.take_pending_redactions(tx, [])) == {}
    assert await database.write(lambda tx: events.take_pending_redactions(tx, ["$b"])) == {"$b": ["$3"]}


async def a_history(database: Database) -> tuple[int, dict[str, Event]]:
    """Events by name: their places, as (depth, position), are not in one order; only some are to be shown."""
    nid = await make(database)
    other = await make(database, "!other:ours.test")
    places = {
        "old": (1, -2),
        "older": (1, -3),
        "a": (2, 1),
        "b": (3, 2),
        "late": (2, 3),
        "c": (4, 4),
        "deepest": (2**53 - 1, 5),
    }
    made = {name: an_event(depth=depth) for name, (depth, _) in places.items()}
    new = [placed(event, places[name][1]) for name, event in made.items()]
    new += [
        placed(an_event(depth=3), 6, EventStatus.REJECTED),
        placed(an_event(depth=3), 7, EventStatus.SOFT_FAILED),
        placed(an_event(depth=3), 8, EventStatus.WITHHELD),
        NewEvent(an_event(depth=3)),
    ]
    await place(database, nid, *new)
    await place(database, other, placed(an_event("!other:ours.test", depth=3), 9))
    return nid, made


async def test_a_timeline_is_in_the_order_of_the_stream(database: Database) -> None:
    nid, made = await a_history(database)

    async def names(after: int, up_to: int, limit: int) -> tuple[list[str], bool]:
        found, more = await database.read(
            lambda tx: events.timeline(tx, nid, after=after, up_to=up_to, limit=limit)
        )
        ids = {event.event_id: name for name, event in made.items()}
        return [ids[each.event.event_id] for each in found], more

    assert await names(0, 100, 10) == (["a", "b", "late", "c", "deepest"], False)
    assert await names(0, 100, 5) == (["a", "b", "late", "c", "deepest"], False)
    assert await names(0, 100, 2) == (["c", "deepest"], True)
    assert await names(1, 3, 10) == (["b", "late"], False)
    assert await names(5, 100, 10) == ([], False)


async def test_pages_are_in_the_order_of_the_history(database: Database) -> None:
    nid, made = await a_history(database)

    async def names(start: Place | None, limit: int = 10, *, backwards: bool = True) -> list[str]:
        found = await database.read(
            lambda tx: events.page(tx, nid, start=start, backwards=backwards, limit=limit)
        )
        ids = {event.event_id: name for name, event in made.items()}
        return [ids[each.event.event_id] for each in found]

    newest_first = ["deepest", "c", "b", "late", "a", "old", "older"]
    assert await names(None) == newest_first
    assert await names(None, backwards=False) == newest_first[::-1]
    assert await names(None, 2) == newest_first[:2]
    # right after b: b is before it going back, and not after it going on
    assert await names(Place(3, 2), 2) == ["b", "late"]
    assert await names(Place(3, 2), 1, backwards=False) == ["c"]
    # what came after the reader began is no part of what lies before
    assert await names(Place(3, 2, until=2)) == ["b", "a", "old", "older"]
    assert await names(Place(0, 0)) == []


async def test_the_place_behind_all_that_came_up_to_a_position(database: Database) -> None:
    nid, made = await a_history(database)

    async def at(position: int) -> Place:
        return await database.read(lambda tx: events.place_at_position(tx, nid, position))

    assert [await at(position) for position in (-3, 0, 1, 3)] == [
        Place(1, -3),
        Place(1, -2),
        Place(2, 1),
        Place(3, 2),
    ]
    assert await at(100) == Place(made["deepest"].depth, 5)
    assert await at(-10) == Place(0, 0)


async def test_what_is_new_in_rooms(database: Database) -> None:
    nid, _ = await a_history(database)

    async def changed(after: int, up_to: int) -> set[int]:
        return await database.read(lambda tx: events.rooms_changed(tx, [nid, 99], after, up_to))

    assert [await changed(*span) for span in ((0, 1), (4, 5), (5, 100))] == [{nid}, {nid}, set()]
    assert await database.read(lambda tx: events.rooms_changed(tx, [], 0, 1)) == set()


async def test_the_ends_of_a_graph(database: Database) -> None:
    nid, made = await a_history(database)
    ids = sorted([made["c"].event_id, made["late"].event_id])

    async def set_ends(tx: Transaction) -> None:
        await rooms.change_forward_extremities(tx, nid, add=ids, remove=[])

    await database.write(set_ends)
    found = await database.read(lambda tx: events.forward_extremities(tx, nid))
    assert [each.event.event_id for each in found] == ids
    assert await database.read(lambda tx: events.forward_extremities(tx, 99)) == []


@pytest.mark.parametrize("version", ["1", "11"])
async def test_the_deepest_event_there_can_be_is_on_the_first_page(database: Database, version: str) -> None:
    nid = await make(database, version=version)
    depth = 2**63 - 1 if version == "1" else 2**53 - 1
    event = an_event(depth=1, version="11")
    deep = NewEvent(event, 1, state_before=BEFORE, state_after=AFTER)
    await place(database, nid, deep)
    await database.write(
        lambda tx: tx.execute("UPDATE events SET depth = $1 WHERE event_id = $2", depth, event.event_id)
    )
    found = await database.read(lambda tx: events.page(tx, nid, start=None, backwards=True, limit=1))
    assert [each.event.event_id for each in found] == [event.event_id]


async def test_what_a_device_sent(database: Database) -> None:
    who = ("@alice:ours.test", "DEVICE", "send", "1")
    await database.write(lambda tx: events.record_sent(tx, *who, "$a", 1))
    assert await database.read(lambda tx: events.sent_event(tx, *who)) == "$a"
    for other in (
        ("@bob:ours.test", *who[1:]),
        (who[0], "OTHER", *who[2:]),
        (*who[:2], "redact", "1"),
        (*who[:3], "2"),
    ):
        assert await database.read(lambda tx, key=other: events.sent_event(tx, *key)) is None
    with pytest.raises(ConstraintViolation):
        await database.write(lambda tx: events.record_sent(tx, *who, "$b", 2))

    async def told(device: str) -> dict[str, str]:
        return await database.read(lambda tx: events.transaction_ids(tx, who[0], device, ["$a", "$b"]))

    assert await told("DEVICE") == {"$a": "1"}
    assert await told("OTHER") == {}
    assert await database.read(lambda tx: events.transaction_ids(tx, who[0], "DEVICE", [])) == {}
