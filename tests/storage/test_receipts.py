"""Receipts, on both databases."""

from __future__ import annotations

import pytest

from homeserver.core.receipts import MAIN, READ, READ_PRIVATE, UNTHREADED, Read
from homeserver.storage import receipts, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.receipts import ReadUpTo, StoredReceipt

ALICE, BOB = "@alice:test", "@bob:test"
ONE, TWO = "!one:test", "!two:test"


@pytest.fixture
async def nids(database: Database) -> dict[str, int]:
    """The numbers of two rooms."""

    async def work(tx: Transaction) -> dict[str, int]:
        return {room_id: (await rooms.create(tx, room_id, "11")).room_nid for room_id in (ONE, TWO)}

    return await database.write(work)


class Receipts:
    """Keeps receipts with rising positions, and the time that the position says."""

    def __init__(self, database: Database, nids: dict[str, int]) -> None:
        self.database, self.nids, self.position = database, nids, 0

    async def put(
        self,
        room_id: str,
        user_id: str,
        event_position: int | None,
        *,
        kind: str = READ,
        thread_id: str = UNTHREADED,
    ) -> StoredReceipt:
        self.position += 1
        read = Read(room_id, user_id, kind, thread_id, f"$e{event_position}", self.position * 10)
        stored = StoredReceipt(read, self.nids[room_id], event_position, self.position)
        await self.database.write(lambda tx: receipts.put_many(tx, [stored]))
        return stored

    async def shown(
        self, user_id: str, *room_ids: str, after: int = -1, limit: int = 100
    ) -> list[StoredReceipt]:
        nids = [self.nids[room_id] for room_id in room_ids]
        return await self.database.read(lambda tx: receipts.shown_to(tx, user_id, nids, after, limit))


@pytest.fixture
def kept(database: Database, nids: dict[str, int]) -> Receipts:
    return Receipts(database, nids)


async def test_a_receipt_replaces_the_one_of_its_user_type_and_thread(kept: Receipts) -> None:
    await kept.put(ONE, ALICE, 5)
    threaded = await kept.put(ONE, ALICE, 5, thread_id=MAIN)
    private = await kept.put(ONE, ALICE, 5, kind=READ_PRIVATE)
    bobs = await kept.put(ONE, BOB, None)
    other = await kept.put(TWO, ALICE, -3)
    again = await kept.put(ONE, ALICE, 8)

    async def work(tx: Transaction) -> None:
        nid = kept.nids[ONE]
        everything = await receipts.of_users(tx, nid, {ALICE, BOB}, {UNTHREADED, MAIN})
        assert sorted(everything, key=lambda each: each.position) == [threaded, private, bobs, again]
        assert await receipts.of_users(tx, nid, {ALICE}, {MAIN}) == [threaded]
        assert await receipts.of_users(tx, nid, {"@carol:test"}, {MAIN}) == []
        assert await receipts.own(tx, ALICE, kept.nids.values()) == [threaded, private, other, again]
        assert await receipts.own(tx, BOB, [kept.nids[TWO]]) == []
        assert await receipts.own(tx, BOB, []) == []

    await kept.database.read(work)


async def test_private_receipts_are_shown_to_their_owner_alone(kept: Receipts) -> None:
    public = await kept.put(ONE, ALICE, 5)
    private = await kept.put(ONE, ALICE, 6, kind=READ_PRIVATE)
    assert await kept.shown(ALICE, ONE, TWO) == [public, private]
    assert await kept.shown(BOB, ONE, TWO) == [public]
    assert await kept.shown(BOB, ONE, after=public.position) == []
    assert await kept.shown(ALICE, ONE, after=public.position) == [private]
    assert await kept.shown(ALICE, TWO) == [] and await kept.shown(ALICE) == []


async def test_of_each_room_the_newest_are_shown(kept: Receipts) -> None:
    first = [await kept.put(ONE, f"@u{number}:test", 5) for number in range(4)]
    second = [await kept.put(TWO, f"@u{number}:test", 5) for number in range(2)]
    assert await kept.shown(ALICE, ONE, TWO, limit=2) == [*first[2:], *second]
    assert await kept.shown(ALICE, ONE, TWO, limit=1, after=first[2].position) == [first[3], second[1]]


async def test_how_far_a_user_has_read(kept: Receipts) -> None:
    await kept.put(ONE, ALICE, 5)
    await kept.put(ONE, ALICE, 9, kind=READ_PRIVATE)
    await kept.put(ONE, ALICE, 4, thread_id="$root")
    await kept.put(ONE, ALICE, 3, thread_id="$root", kind=READ_PRIVATE)
    await kept.put(TWO, ALICE, -7, thread_id=MAIN)
    await kept.put(TWO, BOB, 30)
    await kept.put(ONE, BOB, None)

    async def work(tx: Transaction) -> None:
        one, two = kept.nids[ONE], kept.nids[TWO]
        assert await receipts.read_up_to(tx, ALICE, [one, two]) == {
            one: ReadUpTo(9, {"$root": 4}),
            two: ReadUpTo(None, {MAIN: -7}),
        }
        assert await receipts.read_up_to(tx, ALICE, [two]) == {two: ReadUpTo(None, {MAIN: -7})}
        assert await receipts.read_up_to(tx, BOB, [one, two]) == {two: ReadUpTo(30)}
        assert await receipts.read_up_to(tx, ALICE, []) == {}

    await kept.database.read(work)


async def test_the_oldest_are_forgotten(kept: Receipts) -> None:
    mine = [await kept.put(ONE, ALICE, number, thread_id=f"$r{number}") for number in range(5)]
    bobs = [await kept.put(ONE, BOB, number, thread_id=f"$r{number}") for number in range(3)]
    others = [await kept.put(TWO, ALICE, number, thread_id=f"$r{number}") for number in range(5)]
    await kept.database.write(lambda tx: receipts.forget_oldest(tx, kept.nids[ONE], {ALICE, BOB}, 3))
    assert await kept.shown(ALICE, ONE, TWO) == [*mine[2:], *bobs, *others]
