"""Presence, on both databases."""

from __future__ import annotations

import pytest

from homeserver.core.presence import OFFLINE, ONLINE, UNAVAILABLE, PresenceState
from homeserver.storage import memberships, presence, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Change
from homeserver.storage.presence import StoredPresence

ALICE, BOB, CAROL, ZOE = "@alice:test", "@bob:test", "@carol:test", "@zoe:other"
ONE, TWO = "!one:test", "!two:test"
HERE = PresenceState(ONLINE, "hi", 5, True)
AWAY = PresenceState(UNAVAILABLE, None, 0)
GONE = PresenceState(OFFLINE, None, 7)


@pytest.fixture
async def nids(database: Database) -> dict[str, int]:
    """Two rooms: one with Alice, Bob and Zoe of another server, one with Carol, whom Alice has left."""
    members = {
        ONE: {ALICE: "join", BOB: "join", ZOE: "join"},
        TWO: {ALICE: "leave", CAROL: "join"},
    }

    async def work(tx: Transaction) -> dict[str, int]:
        found = {}
        for room_id, users in members.items():
            found[room_id] = (await rooms.create(tx, room_id, "11")).room_nid
            changes = [Change(user_id, membership, "$e", user_id) for user_id, membership in users.items()]
            await memberships.apply(tx, found[room_id], changes, 1)
        return found

    return await database.write(work)


async def put(database: Database, states: dict[str, PresenceState], position: int) -> None:
    await database.write(lambda tx: presence.put_many(tx, states, position))


async def test_what_is_put_is_there(database: Database) -> None:
    await put(database, {ALICE: HERE, BOB: GONE}, 3)
    await put(database, {BOB: AWAY}, 4)
    await put(database, {CAROL: GONE}, 5)
    asked = [ALICE, BOB, CAROL, ZOE]
    found = await database.read(lambda tx: presence.get_many(tx, asked))
    assert found == {ALICE: HERE, BOB: AWAY, CAROL: GONE}
    assert await database.read(presence.not_offline) == {ALICE: HERE, BOB: AWAY}


async def test_changes_for_a_user(database: Database, nids: dict[str, int]) -> None:
    await put(database, {CAROL: HERE}, 2)
    await put(database, {ALICE: HERE, ZOE: GONE}, 3)
    await put(database, {BOB: AWAY}, 4)
    await put(database, {"@stranger:test": HERE}, 5)

    async def changed(user_id: str, after: int, limit: int = 100) -> list[StoredPresence]:
        server = user_id.partition(":")[2]
        return await database.read(lambda tx: presence.changed_for(tx, user_id, server, after, limit))

    everything = await changed(ALICE, -1)
    assert sorted(stored.user_id for stored in everything) == [ALICE, BOB, ZOE]
    assert everything[-1] == StoredPresence(BOB, AWAY, 4)
    assert [stored.user_id for stored in await changed(ALICE, 3)] == [BOB]
    assert await changed(ALICE, 4) == []
    assert await changed(ALICE, -1, limit=1) == []
    assert [stored.user_id for stored in await changed(ALICE, -1, limit=2)] == [BOB]
    assert [stored.user_id for stored in await changed(CAROL, -1)] == [CAROL]
    assert await changed("@nobody:test", -1) == []


async def test_those_in_rooms(database: Database, nids: dict[str, int]) -> None:
    await put(database, {CAROL: HERE}, 2)
    await put(database, {BOB: AWAY}, 3)
    await put(database, {ZOE: GONE}, 4)
    await put(database, {ALICE: HERE}, 5)

    async def of_rooms(
        user_id: str, *room_ids: str, with_offline: bool = False, limit: int = 100
    ) -> list[str]:
        asked = [nids[room_id] for room_id in room_ids]
        found = await database.read(
            lambda tx: presence.of_rooms(tx, user_id, asked, limit, with_offline=with_offline)
        )
        return [stored.user_id for stored in found]

    assert await of_rooms(ALICE, ONE) == [BOB, ALICE]
    assert await of_rooms(ALICE, ONE, with_offline=True) == [BOB, ZOE, ALICE]
    assert await of_rooms(ALICE, ONE, with_offline=True, limit=2) == [ZOE, ALICE]
    assert await of_rooms(CAROL, TWO) == [CAROL]
    assert await of_rooms(CAROL, ONE, TWO) == [CAROL, BOB, ALICE]
    assert await of_rooms(BOB) == [BOB]


async def test_who_is_to_be_told(database: Database, nids: dict[str, int]) -> None:
    async def work(tx: Transaction) -> None:
        assert await presence.rooms_of(tx, [ALICE]) == [ONE]
        assert sorted(await presence.rooms_of(tx, [BOB, CAROL])) == [ONE, TWO]
        servers = await presence.servers_of(tx, [ALICE, CAROL, "@nobody:test"], 10)
        assert {user_id: sorted(names) for user_id, names in servers.items()} == {
            ALICE: ["other", "test"],
            CAROL: ["test"],
        }
        assert await presence.servers_of(tx, [ALICE], 1) == {ALICE: ["other"]}
        assert await presence.known_to(tx, [ALICE, CAROL, ZOE, "@nobody:test"], "other") == {ALICE, ZOE}
        assert await presence.known_to(tx, [ZOE], "test") == {ZOE}
        assert await presence.known_to(tx, [ZOE], "elsewhere") == set()

    await database.read(work)
