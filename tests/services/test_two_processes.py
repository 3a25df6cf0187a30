"""Two processes on one PostgreSQL database: nothing is lost when both write to a room, and who loses repeats its unit."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.services.timeline import Draft
from homeserver.storage import events, memberships, positions, rooms
from homeserver.storage.database import Database, Transaction, open_database
from homeserver.storage.rooms import RoomMoved
from tests.storage.conftest import Settings
from tests.support.graph import current_state, ends, room_of
from tests.support.rooms import RoomServices

# SQLite is for one process.
on_postgresql = pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"


@pytest.fixture
async def pair(
    database: Database, database_settings: Settings
) -> AsyncIterator[tuple[RoomServices, RoomServices]]:
    """The services of two processes; each has caches and locks of its own."""
    other = await open_database(database_settings)
    first, second = RoomServices(database), RoomServices(other)
    yield first, second
    await other.close()


@on_postgresql
async def test_both_write_to_one_room(pair: tuple[RoomServices, RoomServices]) -> None:
    first, second = pair
    room_id = await first.room(ALICE)
    sends = [services.say(room_id, ALICE, str(number)) for number in range(20) for services in pair]
    sent = await asyncio.gather(*sends)
    assert len(set(sent)) == 40
    assert len(await ends(first, room_id)) == 1
    room = await room_of(second, room_id)
    shown, _ = await second.database.read(
        lambda tx: events.timeline(tx, room.room_nid, after=0, up_to=2**60, limit=100)
    )
    assert {each.event.event_id for each in shown} >= set(sent)
    found = [each.position for each in shown]
    assert len(set(found)) == len(found)
    assert max(position or 0 for position in found) == await first.database.read(positions.current)
    # one line: each refers to the one before it
    assert all(len(each.event.prev_event_ids) <= 1 for each in shown)


@on_postgresql
async def test_both_change_state(pair: tuple[RoomServices, RoomServices]) -> None:
    first, second = pair
    room_id = await first.room(ALICE)

    async def joins(services: RoomServices, name: str) -> None:
        for number in range(5):
            user = f"@{name}{number}:ours.test"
            await services.timeline.send(room_id, Draft(user, "m.room.member", {"membership": "join"}, user))

    await asyncio.gather(joins(first, "a"), joins(second, "b"))
    room = await room_of(first, room_id)
    members = await first.database.read(lambda tx: memberships.of_room(tx, room.room_nid, ("join",)))
    state = await current_state(second, room_id)
    assert {each.user_id for each in members} == {key for kind, key in state if kind == "m.room.member"}
    assert len(members) == 11
    assert await first.database.read(lambda tx: memberships.joined_counts(tx, [room.room_nid])) == {
        room.room_nid: 11
    }


async def test_who_has_read_an_older_room_is_refused(database: Database) -> None:
    """On both databases: the compare-and-swap itself."""
    services = RoomServices(database)
    room_id = await services.room(ALICE)
    old = await room_of(services, room_id)
    await services.join(room_id, BOB)

    async def with_the_old(tx: Transaction) -> None:
        await rooms.advance(tx, old, old.current_state)

    with pytest.raises(RoomMoved):
        await database.write(with_the_old)
    assert (await room_of(services, room_id)).graph_version == old.graph_version + 1


async def test_a_unit_whose_room_has_moved_is_repeated(database: Database) -> None:
    services = RoomServices(database)
    room_id = await services.room(ALICE)
    tries: list[int] = []

    async def moved_twice(tx: Transaction) -> tuple[int, None]:
        tries.append(1)
        if len(tries) < 3:
            raise RoomMoved(room_id)
        return len(tries), None

    assert await services.writes.run(room_id, moved_twice) == 3

    async def always(tx: Transaction) -> tuple[None, None]:
        raise RoomMoved(room_id)

    with pytest.raises(RoomMoved):
        await services.writes.run(room_id, always)
