"""Where branches of a room's history meet: the current state holds what each of them brought."""

import pytest

from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.room_graph import GraphWriter, Outcome, Verdict
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft
from homeserver.storage import events, memberships, outbox, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.state import NodeCache
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL = "@alice:ours.test", "@bob:beta.test", "@carol:gamma.test"


async def two_joins(services: RoomServices, version: str = "12") -> tuple[str, list[Event]]:
    """A room, and two joins that were prepared at the same time, so that neither knows of the other."""
    room_id = await services.room(ALICE, version)
    drafts = [Draft(user, "m.room.member", {"membership": "join"}, user) for user in (BOB, CAROL)]
    return room_id, [await services.timeline.prepare(room_id, draft) for draft in drafts]


async def accept(services: RoomServices, room_id: str, event: Event) -> Outcome:
    outcome, _, _ = await services.timeline.accept(room_id, event, relay_except=())
    return outcome


async def joined(services: RoomServices, room_id: str) -> set[str]:
    """Who is in the room, by the current state as a server reads it that has just started, and by the table of members."""

    async def work(tx: Transaction) -> tuple[set[str], set[str]]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        state = await RoomStates(NodeCache()).all_ids(tx, room.current_state)
        members = await memberships.of_room(tx, room.room_nid, ("join",))
        return {key for kind, key in state if kind == "m.room.member"}, {each.user_id for each in members}

    by_state, by_table = await services.database.read(work)
    assert by_state == by_table
    return by_state


@pytest.mark.parametrize("version", ROOM_VERSIONS)
async def test_joins_at_the_same_time_all_count(services: RoomServices, version: str) -> None:
    room_id, joins = await two_joins(services, version)
    for event in joins:
        assert (await accept(services, room_id, event)).verdict is Verdict.ACCEPTED
    assert await joined(services, room_id) == {ALICE, BOB, CAROL}
    # and what comes after both builds on both
    await services.say(room_id, ALICE, "welcome")
    assert await joined(services, room_id) == {ALICE, BOB, CAROL}


async def test_joins_in_one_unit_of_work_all_count(services: RoomServices) -> None:
    room_id, joins = await two_joins(services)

    async def work(tx: Transaction) -> tuple[None, None]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = await GraphWriter.open(tx, services.states, services.server_name, room)
        for event in joins:
            assert (await writer.add(event)).verdict is Verdict.ACCEPTED
        await writer.close()
        return None, None

    await services.writes.run(room_id, work)
    assert await joined(services, room_id) == {ALICE, BOB, CAROL}


async def test_a_resolution_whose_unit_of_work_was_undone_is_stored_by_the_next(
    services: RoomServices,
) -> None:
    room_id, joins = await two_joins(services)

    async def work(tx: Transaction) -> tuple[None, None]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = await GraphWriter.open(tx, services.states, services.server_name, room)
        for event in joins:
            await writer.add(event)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await services.writes.run(room_id, work)
    assert await joined(services, room_id) == {ALICE}
    for event in joins:
        await accept(services, room_id, event)
    assert await joined(services, room_id) == {ALICE, BOB, CAROL}


async def test_a_server_that_joins_is_told_of_what_was_sent_while_it_joined(services: RoomServices) -> None:
    room_id, (first, second) = await two_joins(services)
    message = await services.say(room_id, ALICE, "sent meanwhile")
    await accept(services, room_id, first)
    await accept(services, room_id, second)

    async def queued(server: str) -> set[str]:
        rows = await services.database.read(lambda tx: outbox.oldest(tx, server, 50))
        known = await services.database.read(
            lambda tx: events.get_many(tx, [message, first.event_id, second.event_id])
        )
        nids = {stored.nid: event_id for event_id, stored in known.items()}
        return {nids[row.event_nid] for row in rows}

    assert await queued("gamma.test") == {message, first.event_id, second.event_id}
    assert await queued("beta.test") >= {message, second.event_id}
    assert services.committed[-1].destinations == {"beta.test", "gamma.test"}
