"""The ends of a room's graph stay few, also when none of our users posts."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.filters import Filter
from homeserver.core.requester import Requester
from homeserver.services import background
from homeserver.services.event_store import DUMMY_EVENT
from homeserver.services.graph_merging import GraphMerging
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import MANY_ENDS, Verdict
from homeserver.services.sync import SyncRequest
from homeserver.services.timeline import Draft
from homeserver.storage import expelled_servers, memberships, rooms
from homeserver.storage.database import DatabaseError, Transaction
from homeserver.storage.events import EventStatus
from tests.support.federation_peer import until
from tests.support.graph import end_of, ends, event_after, joined_from, offer, stored
from tests.support.rooms import RoomServices

ALICE, BOB = "@alice:ours.test", "@bob:beta.test"
CAROL = "@carol:ours.test"


@pytest.fixture
async def merging(services: RoomServices) -> AsyncIterator[GraphMerging]:
    """Joins the ends of rooms at once."""
    merging = GraphMerging(
        services.database,
        services.states,
        services.timeline,
        services.identity,
        random.Random(1),
        longest_delay_s=0.01,
    )
    yield merging
    await merging.stop()


async def fork(services: RoomServices, room_id: str, count: int) -> None:
    """Many messages of a user of another server on one parent."""
    parent = await end_of(services, room_id)
    for number in range(count):
        event = await event_after(services, room_id, [parent], BOB, "m.room.message", {"body": str(number)})
        assert (await offer(services, room_id, event))[0].verdict is Verdict.ACCEPTED


async def test_sixty_events_on_one_parent_end_in_few_ends(
    services: RoomServices, merging: GraphMerging
) -> None:
    room_id = await services.room(ALICE)
    await joined_from(services, room_id, BOB)
    await fork(services, room_id, 60)
    assert len(await ends(services, room_id)) == 60
    merging.committed(services.committed[-1])
    before = len(services.committed)
    await until(lambda: len(services.committed) == before + 3)  # each joins 20: 60, 41, 22, 3
    assert len(await ends(services, room_id)) == 3
    # What was sent is in the graph, goes to the other servers, and is shown to no client.
    kinds = {(await stored(services, each)).event.type for each in await ends(services, room_id)}
    assert DUMMY_EVENT in kinds
    assert services.committed[-1].destinations == {"beta.test"}
    answer = await services.sync.sync(SyncRequest(Requester(ALICE, "DEVICE", 1), Filter(), None))
    assert DUMMY_EVENT not in str(answer["rooms"]["join"][room_id]["timeline"])


async def test_few_ends_are_left_alone(services: RoomServices, merging: GraphMerging) -> None:
    room_id = await services.room(ALICE)
    await joined_from(services, room_id, BOB)
    merging.committed(services.committed[-1])
    assert not merging.running
    await fork(services, room_id, MANY_ENDS)
    assert len(await ends(services, room_id)) == MANY_ENDS
    assert not any(committed.many_ends for committed in services.committed)


@pytest.mark.parametrize("events", [{DUMMY_EVENT: 50}, {}])
async def test_the_user_with_the_highest_level_sends_if_anyone_may(
    services: RoomServices, merging: GraphMerging, events: dict[str, int]
) -> None:
    room_id = await services.room(ALICE, "10")
    await joined_from(services, room_id, BOB)
    await services.join(room_id, CAROL)
    levels = {"users": {ALICE: 100, BOB: 50}, "events_default": 0, "events": events}
    await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", levels, ""))
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "leave"}, ALICE))
    await fork(services, room_id, MANY_ENDS + 1)
    before = len(services.committed)
    merging.committed(services.committed[-1])
    await until(lambda: not merging.running)
    if events:
        assert len(await ends(services, room_id)) == MANY_ENDS + 1  # Carol may not
        assert len(services.committed) == before
        return
    (end,) = await ends(services, room_id)
    kept = await stored(services, end)
    assert (kept.event.type, kept.event.sender, kept.status) == (DUMMY_EVENT, CAROL, EventStatus.WITHHELD)


async def test_a_dummy_event_of_another_server_is_not_shown_and_ends_count(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await joined_from(services, room_id, BOB)
    parent = await end_of(services, room_id)
    event = await event_after(services, room_id, [parent], BOB, DUMMY_EVENT, {})
    assert (await offer(services, room_id, event))[0].verdict is Verdict.ACCEPTED
    assert await ends(services, room_id) == {event.event_id}
    answer = await services.sync.sync(SyncRequest(Requester(ALICE, "DEVICE", 1), Filter(), None))
    assert DUMMY_EVENT not in str(answer["rooms"]["join"][room_id]["timeline"])


async def put_out(services: RoomServices, room_id: str) -> None:
    """Note that a server was put out of the room by a resolution and has not been told."""

    async def work(tx: Transaction) -> None:
        room = await rooms.get(tx, room_id)
        assert room is not None
        await expelled_servers.put(tx, room.room_nid, ["beta.test"], 1)

    await services.database.write(work)


async def test_who_is_owed_an_event_since_before_a_restart_gets_it(
    services: RoomServices, merging: GraphMerging
) -> None:
    room_ids = [await services.room(ALICE) for _ in range(2)]
    for room_id in room_ids:
        await put_out(services, room_id)
    before = len(services.committed)
    merging.work.start()
    await until(lambda: len(services.committed) == before + 2)
    assert {room_id for each in services.committed[before:] for room_id in each.rooms} == {*room_ids}
    assert all(each.destinations == {"beta.test"} for each in services.committed[before:])


async def test_who_is_owed_an_event_gets_it_later_when_the_database_fails(
    services: RoomServices, merging: GraphMerging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_S", 0.01)
    room_id = await services.room(ALICE)
    merging.work.start()
    await put_out(services, room_id)
    look, failures = memberships.local_users, ["the second time too", "the disk is full"]

    async def sometimes(*args: Any) -> list[str]:
        if failures:
            raise DatabaseError(failures.pop())
        return await look(*args)

    monkeypatch.setattr(memberships, "local_users", sometimes)
    before = len(services.committed)
    merging.committed(Committed(1, many_ends=frozenset({room_id})))
    await until(lambda: len(services.committed) == before + 1)
    assert services.committed[-1].destinations == {"beta.test"}
    assert not failures
