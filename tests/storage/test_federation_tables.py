"""Outbox, destinations, received transactions and server keys, on both databases."""

from homeserver.storage import destinations, inbound_transactions, outbox, rooms, server_keys
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import Failing
from homeserver.storage.outbox import Queued, Unanswered
from homeserver.storage.server_keys import KeyRow, KeysRow


async def events_in(database: Database, room_id: str, count: int) -> list[int]:
    """Numbers of events of a room; what they say does not matter here."""

    async def work(tx: Transaction) -> list[int]:
        room = await rooms.get(tx, room_id) or await rooms.create(tx, room_id, "12")
        nids = []
        for number in range(count):
            nids.append(
                await tx.fetch_value(
                    "INSERT INTO events (event_id, room_nid, depth, type, sender, origin_server_ts, status, canonical)"
                    " VALUES ($1, $2, 1, 'm.x', '@a:b', 1, 0, $3) RETURNING event_nid",
                    f"${room_id}{number}",
                    room.room_nid,
                    b'{"n":%d}' % number,
                )
            )
        return nids

    return await database.write(work)


async def test_the_outbox_gives_what_was_put_in_oldest_first(database: Database) -> None:
    nids = await events_in(database, "!a:x", 3)

    async def fill(tx: Transaction) -> None:
        for nid in reversed(nids):
            await outbox.add(tx, ["a.test", "b.test"], nid)
        await outbox.add(tx, ["a.test"], nids[0])  # twice is once

    await database.write(fill)
    assert await database.read(outbox.waiting) == ["a.test", "b.test"]
    oldest = await database.read(lambda tx: outbox.oldest(tx, "a.test", 2))
    assert oldest == [Queued(nids[0], b'{"n":0}'), Queued(nids[1], b'{"n":1}')]
    await database.write(lambda tx: outbox.done(tx, "a.test", nids[:2]))
    assert [row.event_nid for row in await database.read(lambda tx: outbox.oldest(tx, "a.test", 9))] == nids[
        2:
    ]
    assert len(await database.read(lambda tx: outbox.oldest(tx, "b.test", 9))) == 3
    await database.write(lambda tx: outbox.done(tx, "a.test", nids))
    assert await database.read(outbox.waiting) == ["b.test"]


async def test_only_the_newest_of_each_room_is_kept(database: Database) -> None:
    one, two = await events_in(database, "!a:x", 3), await events_in(database, "!b:x", 2)

    async def fill(tx: Transaction) -> int:
        for nid in (*one, *two):
            await outbox.add(tx, ["a.test", "b.test"], nid)
        return await outbox.keep_newest_per_room(tx, "a.test")

    assert await database.write(fill) == 3
    assert [row.event_nid for row in await database.read(lambda tx: outbox.oldest(tx, "a.test", 9))] == [
        one[2],
        two[1],
    ]
    assert len(await database.read(lambda tx: outbox.oldest(tx, "b.test", 9))) == 5


async def test_an_unanswered_transaction_is_kept_until_it_is_answered(database: Database) -> None:
    first = Unanswered("t1", (1, 2), b"{}")
    await database.write(lambda tx: outbox.keep_unanswered(tx, "a.test", first))
    second = Unanswered("t2", (3,), b'{"a":1}')
    await database.write(lambda tx: outbox.keep_unanswered(tx, "a.test", second))
    assert await database.read(lambda tx: outbox.unanswered(tx, "a.test")) == second
    assert await database.read(lambda tx: outbox.unanswered(tx, "b.test")) is None
    assert await database.read(outbox.waiting) == ["a.test"]
    await database.write(lambda tx: outbox.done(tx, "a.test", ()))
    assert await database.read(outbox.waiting) == []


async def test_destinations(database: Database) -> None:
    first = Failing("b.test", 1, 1, 2, "no route")
    again = Failing("b.test", 1, 2, 2**45, "still no route")
    other = Failing("a.test", 5, 1, 6, "no DNS")
    for row in (first, again, other):
        await database.write(lambda tx, row=row: destinations.set_failing(tx, row))  # type: ignore[misc]
    assert await database.read(destinations.failing) == [other, again]
    assert await database.read(lambda tx: destinations.get(tx, "b.test")) == again
    await database.write(lambda tx: destinations.set_working(tx, "b.test"))
    assert await database.read(lambda tx: destinations.get(tx, "b.test")) is None


async def test_answers_to_transactions(database: Database) -> None:
    async def record(tx: Transaction, name: str, answer: bytes, now_ms: int) -> None:
        await inbound_transactions.record(tx, "a.test", name, answer, now_ms=now_ms, keep_ms=1000)

    await database.write(lambda tx: record(tx, "t1", b"1", 1_000))
    await database.write(lambda tx: record(tx, "t1", b"other", 1_001))
    await database.write(lambda tx: record(tx, "t2", b"2", 2_000))
    assert await database.read(lambda tx: inbound_transactions.answer(tx, "a.test", "t1")) == b"1"
    assert await database.read(lambda tx: inbound_transactions.answer(tx, "b.test", "t1")) is None
    await database.write(lambda tx: record(tx, "t3", b"3", 2_001))
    assert await database.read(lambda tx: inbound_transactions.answer(tx, "a.test", "t1")) is None
    assert await database.read(lambda tx: inbound_transactions.answer(tx, "a.test", "t2")) == b"2"


async def test_server_keys(database: Database) -> None:
    one = KeysRow(
        "a.test",
        (KeyRow("ed25519:a", b"k" * 32, 9, False), KeyRow("ed25519:b", b"o" * 32, 3, True)),
        b"{}",
        1,
        9,
    )
    two = KeysRow("b.test", (), b'{"b":1}', 2, 8)
    await database.write(lambda tx: server_keys.save(tx, [one, two]))
    assert await database.read(lambda tx: server_keys.load(tx, ["a.test", "b.test", "c.test"])) == {
        "a.test": one,
        "b.test": two,
    }
    newer = KeysRow("a.test", (KeyRow("ed25519:c", b"n" * 32, 99, False),), b'{"c":1}', 7, 99)
    await database.write(lambda tx: server_keys.save(tx, [newer]))
    assert await database.read(lambda tx: server_keys.load(tx, ["a.test"])) == {"a.test": newer}
    many = [KeysRow(f"s{number}.test", (), b"{}", 1, 1) for number in range(1200)]
    await database.write(lambda tx: server_keys.save(tx, many))
    assert (
        len(await database.read(lambda tx: server_keys.load(tx, [row.server_name for row in many]))) == 1200
    )
