"""Server notices rooms, on both databases."""

from __future__ import annotations

from homeserver.storage import server_notices
from homeserver.storage.database import Database, Transaction


async def test_one_room_a_user(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        assert await server_notices.room_of(tx, "@a:test") is None
        await server_notices.set_room(tx, "@a:test", "!one:test")
        await server_notices.set_room(tx, "@b:test", "!two:test")
        assert await server_notices.room_of(tx, "@a:test") == "!one:test"
        await server_notices.set_room(tx, "@a:test", "!three:test")
        assert await server_notices.room_of(tx, "@a:test") == "!three:test"

    await database.write(work)
