"""Servers that were put out of a room, and what they may know of it."""

from homeserver.storage import expelled_servers
from homeserver.storage.database import Database
from homeserver.storage.expelled_servers import Expelled


async def position(database: Database, room_nid: int, server: str) -> int | None:
    found = await database.read(lambda tx: expelled_servers.get(tx, room_nid, server))
    return found.position if found else None


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


async def test_who_is_still_to_be_sent_an_event_that_joins_the_ends(database: Database) -> None:
    await database.write(lambda tx: expelled_servers.put(tx, 1, ["gamma.test", "beta.test"], 5))
    await database.write(lambda tx: expelled_servers.put(tx, 2, ["beta.test"], 5))
    assert await database.read(lambda tx: expelled_servers.untold(tx, 1)) == ["beta.test", "gamma.test"]
    await database.write(lambda tx: expelled_servers.set_told(tx, 1, 7))
    assert await database.read(lambda tx: expelled_servers.untold(tx, 1)) == []
    assert await database.read(lambda tx: expelled_servers.untold(tx, 2)) == ["beta.test"]
    await database.write(lambda tx: expelled_servers.put(tx, 1, ["beta.test"], 9))  # put out once more
    assert await database.read(lambda tx: expelled_servers.get(tx, 1, "beta.test")) == Expelled(9, None)
    assert await database.read(lambda tx: expelled_servers.get(tx, 1, "gamma.test")) == Expelled(5, 7)
