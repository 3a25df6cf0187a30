"""Rooms whose guest access has changed, on both databases."""

from __future__ import annotations

from homeserver.storage import accounts, guest_rooms, memberships, rooms
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Change


async def test_a_room_is_looked_at_until_nothing_changes(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        assert await guest_rooms.next_marked(tx) is None
        await guest_rooms.mark(tx, 7)
        assert await guest_rooms.next_marked(tx) == (7, 0)
        await guest_rooms.mark(tx, 7)
        await guest_rooms.unmark(tx, 7, 0)
        assert await guest_rooms.next_marked(tx) == (7, 1)
        await guest_rooms.unmark(tx, 7, 1)
        assert await guest_rooms.next_marked(tx) is None

    await database.write(work)


async def test_guests_in_a_room(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        room = await rooms.create(tx, "!r:test", "10")
        for name, is_guest, membership in (
            ("a", True, "join"),
            ("b", False, "join"),
            ("c", True, "leave"),
            ("d", True, "join"),
        ):
            user_id = f"@{name}:test"
            await accounts.add(tx, Account(user_id, None, False, is_guest, False, None, 1))
            await memberships.apply(tx, room.room_nid, [Change(user_id, membership, "$e", user_id)], 1)
        assert await guest_rooms.guests_in(tx, room.room_nid, "test", 9) == ["@a:test", "@d:test"]
        assert await guest_rooms.guests_in(tx, room.room_nid, "test", 1) == ["@a:test"]
        assert await guest_rooms.guests_in(tx, room.room_nid, "other", 9) == []

    await database.write(work)
