"""The full-text index: it finds the same on both databases, follows the events, and forgets what is redacted."""

from __future__ import annotations

import importlib

from homeserver.core.events import Event
from homeserver.core.search import SEARCHED_TYPES, parse_search_term
from homeserver.storage import events, positions, rooms, search
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from homeserver.storage.search import Match
from tests.support.stored_rooms import an_event

EVERY_TYPE = list(SEARCHED_TYPES.values())


async def keep(
    database: Database, *new: Event, history: bool = False, status: EventStatus = EventStatus.ACCEPTED
) -> list[StoredEvent]:
    """Store events of one room, in the stream or as history that was fetched later."""

    async def work(tx: Transaction) -> list[StoredEvent]:
        room = await rooms.get(tx, new[0].room_id) or await rooms.create(tx, new[0].room_id, "11")
        take = positions.take_history if history else positions.take
        first = await take(tx, len(new))
        step = -1 if history else 1
        reason = None if status is EventStatus.ACCEPTED else "a rule"
        placed = [
            NewEvent(event, first + step * index, status, reason, b"b" * 16, b"a" * 16)
            for index, event in enumerate(new)
        ]
        nids = await events.place_many(tx, room.room_nid, placed)
        return [events.as_stored(each, nids[each.event.event_id], room.room_nid) for each in placed]

    return await database.write(work)


async def catch_up(database: Database, limit: int = 2) -> int:
    """Index all there is, in small batches; how many of them."""
    batches = 0
    while True:
        seen, then, rows = await database.read(lambda tx: search.unindexed(tx, limit))
        if seen == then:
            return batches
        found = search.indexed(rows)
        assert await database.write(lambda tx: search.index(tx, seen, then, found))  # noqa: B023 - awaited here
        batches += 1


async def found(
    database: Database,
    text: str,
    *,
    room_ids: tuple[str, ...] = ("!room:ours.test",),
    types: list[str] = EVERY_TYPE,
    up_to: int = 10**9,
    limit: int = 100,
) -> list[Match]:
    """What is found, as it comes from the database."""

    async def work(tx: Transaction) -> list[Match]:
        among = [room.room_nid for room in (await rooms.get_many(tx, room_ids)).values()]
        return await search.matches(tx, parse_search_term(text), among, types, up_to=up_to, limit=limit)

    return await database.read(work)


def saying(body: str, room_id: str = "!room:ours.test") -> Event:
    return an_event(room_id, content={"msgtype": "m.text", "body": body})


async def test_all_phrases_must_be_there_in_any_order(database: Database) -> None:
    kept = await keep(
        database,
        saying("The meetings are on Monday"),
        saying("Monday: no meeting"),
        saying("a meeting"),
        saying("東京都の天気"),
        saying("Café, see https://example.org/menu"),
    )
    await catch_up(database)
    nids = [stored.nid for stored in kept]

    async def numbers(text: str) -> list[int]:
        return [nids.index(match.nid) for match in await found(database, text)]

    assert await numbers("monday MEETING") == [1, 0]
    assert await numbers('"meeting are"') == [0]
    assert await numbers('"are meeting"') == []
    assert await numbers("京都") == [3]
    assert await numbers("都京") == []
    assert await numbers("cafe example.org") == [4]
    assert await numbers("nothing") == []
    assert await numbers("") == []
    assert await numbers("' & | ! : * ( ) \" <-> NEAR AND OR NOT \\ \0") == []


async def test_what_fits_better_has_a_higher_rank(database: Database) -> None:
    kept = await keep(
        database,
        saying("pears, plums, cherries, quinces, medlars and an apple"),
        saying("apple apple"),
        saying("something else"),
    )
    await catch_up(database)
    ranks = {match.nid: match.rank for match in await found(database, "apple")}
    assert ranks[kept[1].nid] > ranks[kept[0].nid] > 0


async def test_rooms_types_numbers_and_limit_narrow_it(database: Database) -> None:
    first = await keep(
        database,
        saying("tea"),
        an_event(type="m.room.name", content={"name": "Tea"}, state_key=""),
        an_event(type="m.room.topic", content={"topic": "All about tea"}, state_key=""),
        an_event(type="org.example", content={"body": "tea"}),
    )
    [other] = await keep(database, saying("tea", "!other:ours.test"))
    await catch_up(database)
    nids = [stored.nid for stored in first]
    assert [match.nid for match in await found(database, "tea")] == [nids[2], nids[1], nids[0]]
    assert [match.nid for match in await found(database, "tea", types=["m.room.name"])] == [nids[1]]
    assert await found(database, "tea", types=["org.example"]) == []
    assert [match.nid for match in await found(database, "tea", up_to=nids[1])] == [nids[1], nids[0]]
    assert [match.nid for match in await found(database, "tea", limit=1)] == [nids[2]]
    everywhere = await found(database, "tea", room_ids=("!room:ours.test", "!other:ours.test"))
    assert [match.nid for match in everywhere] == [other.nid, nids[2], nids[1], nids[0]]
    assert await found(database, "tea", room_ids=()) == []
    match = everywhere[0]
    assert (match.room_nid, match.sender) == (other.room_nid, "@alice:ours.test")
    assert (match.type, match.origin_server_ts) == ("m.room.message", other.event.origin_server_ts)


async def test_of_many_rooms_too(database: Database) -> None:
    names = tuple(f"!room{number}:ours.test" for number in range(search.FEW_ROOMS + 1))
    kept = [(await keep(database, saying("tea", room_id)))[0] for room_id in names]
    await keep(database, saying("tea"))
    await catch_up(database, limit=500)
    assert [match.nid for match in await found(database, "tea", room_ids=names)] == [
        stored.nid for stored in reversed(kept)
    ]


async def test_it_follows_the_stream_and_the_history(database: Database) -> None:
    [late] = await keep(database, saying("tea, later"))
    [old, older] = await keep(database, saying("tea, long ago"), saying("tea, before"), history=True)
    await keep(database, saying("tea of others"), status=EventStatus.SOFT_FAILED)
    assert await found(database, "tea") == []
    assert await catch_up(database, limit=1) == 3
    assert await catch_up(database) == 0
    assert {match.nid for match in await found(database, "tea")} == {late.nid, old.nid, older.nid}
    [next_one] = await keep(database, saying("tea again"))
    [oldest] = await keep(database, saying("the first tea"), history=True)
    assert await catch_up(database) == 2
    assert {match.nid for match in await found(database, "tea")} == {
        *(late.nid, old.nid, older.nid),
        *(next_one.nid, oldest.nid),
    }


async def test_what_is_redacted_leaves_it_and_nothing_else_does(database: Database) -> None:
    kept = await keep(database, saying("tea and milk"), saying("tea and sugar"))
    [refused] = await keep(database, saying("tea and salt"), status=EventStatus.SOFT_FAILED)
    [history] = await keep(database, saying("tea and lemon"), history=True)
    await catch_up(database)
    await database.write(lambda tx: search.remove(tx, refused))
    await database.write(lambda tx: search.remove(tx, kept[0]))
    assert {match.nid for match in await found(database, "tea")} == {kept[1].nid, history.nid}
    await database.write(lambda tx: search.remove(tx, history))
    assert [match.nid for match in await found(database, "tea")] == [kept[1].nid]
    assert await found(database, "milk") == []
    [later] = await keep(database, saying("tea and honey"))
    await database.write(lambda tx: search.remove(tx, later))  # it is not in the index yet
    await catch_up(database)
    assert [match.nid for match in await found(database, "sugar")] == [kept[1].nid]


async def test_a_redaction_between_reading_and_indexing_is_noticed(database: Database) -> None:
    [secret] = await keep(database, saying("a secret"))
    seen, then, rows = await database.read(lambda tx: search.unindexed(tx, 10))
    indexed = search.indexed(rows)

    async def redact(tx: Transaction) -> None:
        await search.remove(tx, secret)
        await events.set_redacted(tx, an_event(content={}), "$redaction")

    await database.write(redact)
    assert not await database.write(lambda tx: search.index(tx, seen, then, indexed))
    assert await found(database, "secret") == []
    # Two that index at once: the second has nothing to do any more.
    seen, then, rows = await database.read(lambda tx: search.unindexed(tx, 10))
    indexed = search.indexed(rows)
    assert await database.write(lambda tx: search.index(tx, seen, then, indexed))
    assert not await database.write(lambda tx: search.index(tx, seen, then, indexed))


async def test_the_migration_starts_from_the_beginning(database: Database) -> None:
    migration = importlib.import_module("homeserver.storage.migrations.0070_search")

    async def anew(tx: Transaction) -> None:
        for statement in (
            "DROP TABLE event_search",
            "DROP TABLE search_progress",
            "DROP INDEX events_to_search",
        ):
            await tx.execute(statement)
        await migration.migrate(tx)

    [stored] = await keep(database, saying("tea"))
    await database.write(anew)
    await catch_up(database)
    assert [match.nid for match in await found(database, "tea")] == [stored.nid]
    assert await database.read(search.newest_event) == stored.nid


async def test_long_and_strange_texts(database: Database) -> None:
    strange = [
        "x" * 60_000,
        "ﷺ" * 5_000,
        "e\u0301" * 10_000,
        "\u202e𝔱ea\u0000",
        "a " * 30_000,
        "'tea'",
        "\\tea",
    ]
    kept = await keep(database, *(saying(text) for text in strange))
    await catch_up(database)
    assert {match.nid for match in await found(database, "tea")} == {
        kept[3].nid,
        kept[5].nid,
        kept[6].nid,
    }
    assert [match.nid for match in await found(database, "x" * 50_000)] == [kept[0].nid]
    for stored in kept:
        await database.write(lambda tx, stored=stored: search.remove(tx, stored))  # type: ignore[misc]
    assert await found(database, "tea") == []
