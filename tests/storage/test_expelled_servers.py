"""Servers that were put out of a room, and what they may know of it."""

from homeserver.storage import expelled_servers
from homeserver.storage.database import Database


async def position(database: Database, room_nid: int, server: str) -> int | None:
    return await database.read(lambda tx: expelled_servers.position(tx, room_nid, server))


async def test_the_newest_position_holds_until_they_are_back(database: Database) -> None:
    await database.write(lambda tx: expelled_servers.put(tx, 1, ["beta.test", "gamma.test"], 5))
    await database.write(lambda tx: expelled_servers.put(tx, 1, ["beta.test"], 8))
    await database.write(lambda tx: expelled_servers.put(tx, 2, ["beta.test"], 9))
    assert await position(database, 1, "beta.test") == 8
    assert await position(database, 1, "gamma.test") == 5
    assert await position(database, 1, "ours.test") is None
    await database.write(lambda tx: expelled_servers.remove(tx, 1, ["beta.test", "ours.test"]))
    assert await position(database, 1, "beta.test") is None
    assert await position(database, 1, "gamma.test") == 5
    assert await position(database, 2, "beta.test") == 9
