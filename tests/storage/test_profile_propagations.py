"""Profile changes on their way to rooms, on both databases."""

from __future__ import annotations

from homeserver.storage import memberships, profile_propagations, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Change
from homeserver.storage.profile_propagations import Propagation

A, B = "@a:test", "@b:test"


async def test_a_later_change_begins_anew(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await profile_propagations.begin(tx, B)
        await profile_propagations.begin(tx, A)
        first, other = await profile_propagations.pending(tx, "", 10)
        assert (first, other) == (Propagation(A, 0, 0), Propagation(B, 0, 0))
        assert await profile_propagations.pending(tx, A, 10) == [other]
        assert await profile_propagations.pending(tx, "", 1) == [first]
        await profile_propagations.advance(tx, first, 7)
        assert await profile_propagations.pending(tx, "", 1) == [Propagation(A, 0, 7)]
        await profile_propagations.begin(tx, A)
        again = Propagation(A, 1, 0)
        await profile_propagations.advance(tx, first, 9)
        await profile_propagations.finish(tx, first)
        assert await profile_propagations.pending(tx, "", 10) == [again, other]
        await profile_propagations.finish(tx, again)
        assert await profile_propagations.pending(tx, "", 10) == [other]

    await database.write(work)


async def test_joined_rooms_in_their_order(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        nids = []
        for number in range(4):
            room = await rooms.create(tx, f"!{number}:test", "10")
            nids.append(room.room_nid)
            membership = "leave" if number == 1 else "join"
            await memberships.apply(tx, room.room_nid, [Change(A, membership, f"${number}", A)], 9 - number)
        found = await memberships.joined_rooms(tx, A, after=0, limit=2)
        assert found == {nids[0]: ("!0:test", "$0"), nids[2]: ("!2:test", "$2")}
        assert set(await memberships.joined_rooms(tx, A, after=nids[2], limit=2)) == {nids[3]}
        assert await memberships.joined_rooms(tx, B, after=0, limit=2) == {}

    await database.write(work)
