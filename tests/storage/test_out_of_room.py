"""Memberships of rooms from outside: until when they hold."""

import pytest
from signedjson.key import generate_signing_key

from homeserver.core.events import Event, make_event
from homeserver.core.room_versions import rules_for
from homeserver.core.state_map import EMPTY
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, out_of_room, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import NewEvent
from homeserver.storage.memberships import Change
from homeserver.storage.out_of_room import OutOfRoom

BOB, ROOM = "@bob:ours.test", "!room:theirs.test"
KEY = generate_signing_key("theirs")


def invite(version: str = "10") -> Event:
    """An invite of Bob's."""
    return make_event(
        rules_for(version),
        server_name="theirs.test",
        signing_key=KEY,
        room_id=ROOM,
        type="m.room.member",
        sender="@alice:theirs.test",
        content={"membership": "invite"},
        state_key=BOB,
        prev_events=["$" + "p" * 43],
        auth_events=["$" + "a" * 43],
        depth=7,
        origin_server_ts=1,
    )


def record(event: Event, position: int = 5, membership: str = "invite") -> OutOfRoom:
    """As it is kept."""
    told = [{"type": "m.room.name", "state_key": "", "sender": "@a:b", "content": {"name": "Gäste"}}]
    return OutOfRoom(BOB, ROOM, membership, event, told, "theirs.test", position)


async def kept(database: Database) -> OutOfRoom | None:
    """What holds for Bob; `of_user` says the same as `get`."""

    async def work(tx: Transaction) -> OutOfRoom | None:
        one, several = await out_of_room.get(tx, BOB, ROOM), await out_of_room.of_user(tx, BOB)
        assert several == ([one] if one else [])
        return one

    return await database.read(work)


async def test_what_is_put_is_found_again(database: Database) -> None:
    assert await kept(database) is None
    event = invite()
    await database.write(lambda tx: out_of_room.put(tx, record(event)))
    assert await kept(database) == record(event)
    await database.write(lambda tx: out_of_room.put(tx, record(event, 9, "leave")))
    assert await kept(database) == record(event, 9, "leave")
    await database.write(lambda tx: out_of_room.set_forgotten(tx, BOB, ROOM))
    now = await kept(database)
    assert now is not None and now.forgotten


@pytest.mark.parametrize(("position", "holds"), [(3, True), (8, False)])
async def test_the_later_membership_holds(database: Database, position: int, holds: bool) -> None:
    async def work(tx: Transaction) -> None:
        room = await rooms.create(tx, ROOM, "10")
        change = Change(BOB, "leave", "$other", BOB)
        await memberships.apply(tx, room.room_nid, [change], position)
        await out_of_room.put(tx, record(invite()))

    await database.write(work)
    assert (await kept(database) is not None) is holds


async def test_a_room_that_has_the_event_itself_knows_better(database: Database) -> None:
    event = invite()

    async def work(tx: Transaction) -> None:
        room = await rooms.create(tx, ROOM, "10")
        await out_of_room.put(tx, record(event))
        new = NewEvent(event, state_before=EMPTY, state_after=EMPTY)
        await stored_events.insert_many(tx, room.room_nid, [new])

    await database.write(work)
    assert await kept(database) is None
