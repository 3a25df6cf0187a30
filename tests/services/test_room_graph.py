"""The room graph: what becomes of events that arrive late, twice, from another room, or that the rules refuse."""

import asyncio
from typing import Any

import pytest

from homeserver.core.events import Event, redact
from homeserver.core.state_map import EMPTY
from homeserver.services.history_writes import HistoryWriter
from homeserver.services.outliers import import_outliers
from homeserver.services.room_graph import GraphWriter, MissingEvents, Verdict
from homeserver.services.timeline import Draft
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus
from tests.support.graph import (
    current_state,
    end_of,
    ends,
    event_after,
    gaps,
    joined_from,
    offer,
    room_of,
    stored,
)
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL = "@alice:ours.test", "@bob:beta.test", "@carol:gamma.test"
TEXT = {"msgtype": "m.text", "body": "hello"}


@pytest.fixture
def services(database: Database) -> RoomServices:
    return RoomServices(database)


async def message(services: RoomServices, room_id: str, *prev: Event, **options: Any) -> Event:
    return await event_after(services, room_id, prev, BOB, "m.room.message", TEXT, **options)


async def verdict(services: RoomServices, room_id: str, event: Event, **options: Any) -> Verdict:
    (outcome,) = await offer(services, room_id, event, **options)
    return outcome.verdict


async def members_table(services: RoomServices, room_id: str) -> dict[str, str]:
    room = await room_of(services, room_id)
    every = ("join", "invite", "knock", "leave", "ban")
    found = await services.database.read(lambda tx: memberships.of_room(tx, room.room_nid, every))
    return {each.user_id: each.membership for each in found}


async def test_an_event_is_taken_once(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    event = await message(services, room_id, join)
    first, second = await offer(services, room_id, event, event)
    assert (first.verdict, second.verdict) == (Verdict.ACCEPTED, Verdict.DUPLICATE)
    (third,) = await offer(services, room_id, event)
    assert (third.verdict, third.stored_as) == (Verdict.DUPLICATE, EventStatus.ACCEPTED)


async def test_what_is_missing_is_named_and_nothing_is_written(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    missing = await message(services, room_id, join)
    late = await message(services, room_id, missing, state_of=join)
    with pytest.raises(MissingEvents) as raised:
        await offer(services, room_id, late)
    assert raised.value.prev_events == {missing.event_id}
    assert await ends(services, room_id) == {join.event_id}


async def gap_before(services: RoomServices, room_id: str, *, missing: Event, join: Event) -> Event:
    """An event after a missing one, taken with the state that another server gave."""
    late = await message(services, room_id, missing, state_of=join)
    state = (await stored(services, join.event_id)).state_after
    assert await verdict(services, room_id, late, state_before=state) is Verdict.ACCEPTED
    return late


async def test_a_missing_event_that_arrives_late_closes_its_gap_and_is_no_end(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    missing = await message(services, room_id, join)
    late = await gap_before(services, room_id, missing=missing, join=join)
    assert await gaps(services, room_id) == {missing.event_id}
    assert await ends(services, room_id) == {join.event_id, late.event_id}
    assert await verdict(services, room_id, missing) is Verdict.ACCEPTED
    assert await gaps(services, room_id) == set()
    assert await ends(services, room_id) == {late.event_id}


async def test_a_gap_that_is_filled_in_the_same_unit_of_work_is_none(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    missing = await message(services, room_id, join)
    late = await message(services, room_id, missing, state_of=join)
    state = (await stored(services, join.event_id)).state_after
    await offer(services, room_id, late, missing, state_before=state)
    assert await gaps(services, room_id) == set()
    assert await ends(services, room_id) == {late.event_id}


async def test_a_missing_event_that_is_rejected_closes_its_gap_too(services: RoomServices) -> None:
    """Else history would be asked for it for ever."""
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    missing = await event_after(services, room_id, [join], BOB, "m.room.name", {"name": "mine"}, "")
    await gap_before(services, room_id, missing=missing, join=join)
    assert await verdict(services, room_id, missing) is Verdict.REJECTED
    assert await gaps(services, room_id) == set()
    assert missing.event_id not in await ends(services, room_id)


async def test_what_lies_behind_a_refused_event_is_history_once_something_is_built_on_it(
    services: RoomServices,
) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    older = await message(services, room_id, join)
    refused = await event_after(
        services, room_id, [older], BOB, "m.room.name", {"name": "mine"}, "", state_of=join
    )
    state = (await stored(services, join.event_id)).state_after
    assert await verdict(services, room_id, refused, state_before=state) is Verdict.REJECTED
    assert await gaps(services, room_id) == set()
    built_on_it = await message(services, room_id, refused, state_of=join)
    assert await verdict(services, room_id, built_on_it) is Verdict.ACCEPTED
    assert await gaps(services, room_id) == {older.event_id}


async def test_a_rejected_event_after_a_gap_moves_the_gap(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    older = await message(services, room_id, join)
    missing = await event_after(
        services, room_id, [older], BOB, "m.room.name", {"name": "mine"}, "", state_of=join
    )
    await gap_before(services, room_id, missing=missing, join=join)
    state = (await stored(services, join.event_id)).state_after
    assert await verdict(services, room_id, missing, state_before=state) is Verdict.REJECTED
    assert await gaps(services, room_id) == {older.event_id}


async def test_events_after_a_rejected_one_are_judged_without_it(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    rejected = await event_after(services, room_id, [join], BOB, "m.room.name", {"name": "mine"}, "")
    assert await verdict(services, room_id, rejected) is Verdict.REJECTED
    assert await ends(services, room_id) == {join.event_id}
    after = await message(services, room_id, rejected)
    assert await verdict(services, room_id, after) is Verdict.ACCEPTED
    assert ("m.room.name", "") not in await current_state(services, room_id)
    assert await ends(services, room_id) == {after.event_id}


async def test_an_event_that_names_a_rejected_auth_event_is_rejected(services: RoomServices) -> None:
    room_id = await services.room(ALICE, "11")
    join = await joined_from(services, room_id, BOB)
    levels = {"users": {ALICE: 100, BOB: 100}}
    raised = await event_after(services, room_id, [join], BOB, "m.room.power_levels", levels, "")
    assert await verdict(services, room_id, raised) is Verdict.REJECTED
    state = await current_state(services, room_id)
    create = (await stored(services, state["m.room.create", ""])).event
    builds_on = await message(services, room_id, join, auth=[create, raised, join])
    (outcome,) = await offer(services, room_id, builds_on)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.refusal is not None and "was itself rejected" in outcome.refusal.reason


async def evading(services: RoomServices) -> tuple[str, Event, Event, Event]:
    """A ban of Bob and a topic that Bob set at the same time: the specification's example A, B, C."""
    room_id = await services.room(ALICE, "11")
    await joined_from(services, room_id, BOB)
    levels = {"users": {ALICE: 100, BOB: 50}}
    await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", levels, ""))
    a = await end_of(services, room_id)
    ban = await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "ban"}, BOB))
    b = (await stored(services, ban)).event
    c = await event_after(services, room_id, [a], BOB, "m.room.topic", {"topic": "evil"}, "")
    return room_id, a, b, c


async def test_a_soft_failed_event_is_no_end_and_not_shown(services: RoomServices) -> None:
    room_id, _, b, c = await evading(services)
    assert await verdict(services, room_id, c) is Verdict.SOFT_FAILED
    assert await ends(services, room_id) == {b.event_id}
    assert ("m.room.topic", "") not in await current_state(services, room_id)
    assert (await stored(services, c.event_id)).status is EventStatus.SOFT_FAILED
    # "If later another server sends an event D that references both B and C", D is handled as normal
    d = await event_after(services, room_id, [b, c], ALICE, "m.room.message", TEXT, state_of=b)
    assert await verdict(services, room_id, d) is Verdict.ACCEPTED
    assert await ends(services, room_id) == {d.event_id}
    assert ("m.room.topic", "") not in await current_state(services, room_id)


@pytest.mark.parametrize("status", [EventStatus.SOFT_FAILED, EventStatus.REJECTED])
async def test_a_refused_event_stays_so_however_it_comes_again(
    services: RoomServices, status: EventStatus
) -> None:
    room_id, a, b, refused = await evading(services)
    levels = {"users": {ALICE: 100, BOB: 100}}
    if status is EventStatus.REJECTED:
        refused = await event_after(services, room_id, [a], BOB, "m.room.power_levels", levels, "")
    await offer(services, room_id, refused)
    assert (await stored(services, refused.event_id)).status is status
    # The rules of the room change; another server sends it once more, and with another state before it; then as history.
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "leave"}, BOB))
    await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", levels, ""))
    before = (await stored(services, b.event_id)).state_after
    for options in ({}, {"state_before": before}):
        (outcome,) = await offer(services, room_id, refused, **options)
        assert (outcome.verdict, outcome.stored_as) == (Verdict.DUPLICATE, status)

    assert await as_history(services, room_id, refused, b) is not None
    assert (await stored(services, refused.event_id)).status is status
    assert refused.event_id not in await ends(services, room_id)


async def test_what_lies_before_refused_events_is_no_end_once_they_are_built_on(
    services: RoomServices,
) -> None:
    room_id, _, b, c = await evading(services)
    rejected = await event_after(services, room_id, [b], BOB, "m.room.message", TEXT)
    after_it = await event_after(services, room_id, [rejected, c], BOB, "m.room.message", TEXT, state_of=b)
    assert [each.verdict for each in await offer(services, room_id, rejected, c, after_it)] == [
        Verdict.REJECTED,
        Verdict.SOFT_FAILED,
        Verdict.REJECTED,
    ]
    assert await ends(services, room_id) == {b.event_id}
    d = await event_after(services, room_id, [after_it], ALICE, "m.room.message", TEXT, state_of=b)
    assert await verdict(services, room_id, d) is Verdict.ACCEPTED
    assert await ends(services, room_id) == {d.event_id}


async def test_an_event_of_another_room_before_it_refuses_an_event(services: RoomServices) -> None:
    here, there = await services.room(ALICE), await services.room(ALICE)
    join, foreign = await joined_from(services, here, BOB), await joined_from(services, there, BOB)
    event = await message(services, here, foreign, state_of=join)
    (outcome,) = await offer(services, here, event)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.refusal is not None and "another room" in outcome.refusal.reason
    state = (await stored(services, join.event_id)).state_after
    assert await verdict(services, here, event, state_before=state) is Verdict.REJECTED


async def test_an_auth_event_of_another_room_refuses_an_event(services: RoomServices) -> None:
    here, there = await services.room(ALICE, "11"), await services.room(ALICE, "11")
    join, foreign = await joined_from(services, here, BOB), await joined_from(services, there, BOB)
    state = await current_state(services, here)
    named = [
        (await stored(services, state[key])).event
        for key in (("m.room.create", ""), ("m.room.power_levels", ""))
    ]
    event = await message(services, here, join, auth=[*named, foreign])
    (outcome,) = await offer(services, here, event)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.refusal is not None and "another room" in outcome.refusal.reason


async def outlier(services: RoomServices, room_id: str, event: Event, reason: str | None = None) -> None:
    room = await room_of(services, room_id)

    async def work(tx: Transaction) -> tuple[None, None]:
        rejected = {event.event_id: reason} if reason else {}
        await import_outliers(tx, services.states, room, [event], rejected)
        return None, None

    await services.writes.run(room_id, work)


async def test_an_id_that_another_room_has_is_refused_and_that_room_is_unharmed(
    services: RoomServices,
) -> None:
    here, there = await services.room(ALICE, "2"), await services.room(ALICE, "2")
    join, foreign = await joined_from(services, here, BOB), await joined_from(services, there, BOB)
    theirs = await message(services, there, foreign)
    await outlier(services, there, theirs)
    same_id = await message(services, here, join, event_id=theirs.event_id)
    (outcome,) = await offer(services, here, same_id)
    assert outcome.verdict is Verdict.REJECTED
    assert (await stored(services, theirs.event_id)).is_outlier
    assert await ends(services, here) == {join.event_id}


async def as_history(
    services: RoomServices, room_id: str, event: Event, state_of: Event | None = None
) -> str | None:
    """Take an event in as history of a room; returns why it cannot be."""
    before = (await stored(services, state_of.event_id)).state_after if state_of else None

    async def work(tx: Transaction) -> tuple[str | None, None]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = HistoryWriter(tx, services.states, room)
        problem = await writer.add(event, before)
        assert await writer.close() == (problem is None)
        return problem, None

    return await services.writes.run(room_id, work)


async def test_history_does_not_cross_rooms(services: RoomServices) -> None:
    here, there = await services.room(ALICE), await services.room(ALICE)
    join, foreign = await joined_from(services, here, BOB), await joined_from(services, there, BOB)
    event = await message(services, here, foreign, state_of=join)
    for state_of in (None, join):
        assert "another room" in (await as_history(services, here, event, state_of) or "")
    assert await services.database.read(lambda tx: stored_events.get(tx, event.event_id)) is None


async def test_an_id_that_another_room_has_is_no_history_and_that_room_is_unharmed(
    services: RoomServices,
) -> None:
    here, there = await services.room(ALICE, "2"), await services.room(ALICE, "2")
    join, foreign = await joined_from(services, here, BOB), await joined_from(services, there, BOB)
    theirs = await message(services, there, foreign)
    await outlier(services, there, theirs)
    same_id = await message(services, here, join, event_id=theirs.event_id)
    assert "another room" in (await as_history(services, here, same_id) or "")
    assert (await stored(services, theirs.event_id)).is_outlier


async def test_a_room_has_one_create_event_in_its_history_too(services: RoomServices) -> None:
    room_id = await services.room(ALICE, "10")
    create = await event_after(
        services, room_id, [], ALICE, "m.room.create", {"creator": ALICE, "room_version": "10"}, "", auth=[]
    )
    assert "was created by" in (await as_history(services, room_id, create) or "")


async def test_an_outlier_gets_its_place(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    event = await message(services, room_id, join)
    await outlier(services, room_id, event)
    assert await verdict(services, room_id, event) is Verdict.ACCEPTED
    placed = await stored(services, event.event_id)
    assert placed.position is not None and placed.state_after is not None


async def test_a_rejected_outlier_is_judged_anew_in_its_place(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    event = await event_after(services, room_id, [join], BOB, "m.room.name", {"name": "mine"}, "")
    await outlier(services, room_id, event, "not allowed")
    assert await verdict(services, room_id, event) is Verdict.REJECTED
    placed = await stored(services, event.event_id)
    assert placed.status is EventStatus.REJECTED and placed.reason != "not allowed"


async def test_an_outlier_that_came_mangled_is_made_whole_by_the_event_itself(services: RoomServices) -> None:
    """A server that tampers with an event gives us its redacted form; that must not keep us from the event."""
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    event = await message(services, room_id, join)
    await outlier(services, room_id, redact(event))
    assert await verdict(services, room_id, event) is Verdict.ACCEPTED
    assert (await stored(services, event.event_id)).event.content == TEXT


async def test_an_outlier_of_a_version_with_chosen_ids_is_judged_as_it_is_kept(
    services: RoomServices,
) -> None:
    room_id = await services.room(ALICE, "2")
    join = await joined_from(services, room_id, BOB)
    first = await message(services, room_id, join)
    await outlier(services, room_id, first)
    other = await event_after(
        services, room_id, [join], BOB, "m.room.name", {"name": "x"}, "", event_id=first.event_id
    )
    assert await verdict(services, room_id, other) is Verdict.ACCEPTED
    assert (await stored(services, first.event_id)).event.type == "m.room.message"
    assert ("m.room.name", "") not in await current_state(services, room_id)


async def test_what_is_in_the_current_state_lies_before_the_ends(services: RoomServices) -> None:
    """As after a join: the state came as outliers, and one of them is then sent as an event."""
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    carols = await event_after(
        services, room_id, [join], CAROL, "m.room.member", {"membership": "join"}, CAROL
    )
    await outlier(services, room_id, carols)
    base = (await stored(services, join.event_id)).state_after
    assert base is not None

    async def with_carol(tx: Transaction) -> tuple[bytes, None]:
        return await services.states.changed(tx, base, {carols.key: carols.event_id}), None

    state = await services.writes.run(room_id, with_carol)
    unseen = await message(services, room_id, carols, state_of=join)
    late = await message(services, room_id, unseen, state_of=join)
    assert await verdict(services, room_id, late, state_before=state) is Verdict.ACCEPTED
    assert await verdict(services, room_id, carols) is Verdict.ACCEPTED
    assert await ends(services, room_id) == {late.event_id}


async def test_a_room_has_one_create_event(services: RoomServices) -> None:
    room_id = await services.room(ALICE, "10")
    await joined_from(services, room_id, BOB)
    before = await current_state(services, room_id)
    second = await event_after(
        services, room_id, [], ALICE, "m.room.create", {"creator": ALICE, "room_version": "10"}, "", auth=[]
    )
    assert await verdict(services, room_id, second) is Verdict.REJECTED
    assert await current_state(services, room_id) == before


async def test_a_reason_with_nul_is_stored(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.timeline.send(room_id, Draft(ALICE, "m.room.join_rules", {"join_rule": "a\0b"}, ""))
    end = await end_of(services, room_id)
    join = await event_after(services, room_id, [end], BOB, "m.room.member", {"membership": "join"}, BOB)
    assert await verdict(services, room_id, join) is Verdict.REJECTED
    reason = (await stored(services, join.event_id)).reason
    assert reason is not None and "\0" not in reason


async def test_an_invite_of_what_is_no_user_does_no_harm(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    invite = await event_after(
        services, room_id, [join], BOB, "m.room.member", {"membership": "invite"}, "nobody"
    )
    assert await verdict(services, room_id, invite) in (Verdict.ACCEPTED, Verdict.REJECTED)
    assert (await members_table(services, room_id))[BOB] == "join"


async def test_members_follow_a_resolution_that_changes_several_at_once(services: RoomServices) -> None:
    room_id = await services.room(ALICE, "11")
    bobs = await joined_from(services, room_id, BOB)
    levels = {"users": {ALICE: 100, BOB: 50}}
    await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", levels, ""))
    fork = await end_of(services, room_id)
    # On one branch Bob bans Carol and lets another in, on the other Alice has banned Bob.
    invited = "@dora:delta.test"
    invite = await event_after(
        services, room_id, [fork], BOB, "m.room.member", {"membership": "invite"}, invited
    )
    await offer(services, room_id, invite)
    join = await event_after(
        services, room_id, [invite], invited, "m.room.member", {"membership": "join"}, invited
    )
    await offer(services, room_id, join)
    assert (await members_table(services, room_id))[invited] == "join"
    ban = await event_after(services, room_id, [fork], ALICE, "m.room.member", {"membership": "ban"}, BOB)
    await offer(services, room_id, ban)
    table = await members_table(services, room_id)
    state = await current_state(services, room_id)
    by_state = {
        key[1]: (await stored(services, event_id)).event.membership
        for key, event_id in state.items()
        if key[0] == "m.room.member"
    }
    assert table == by_state and table[BOB] == "ban"
    room = await room_of(services, room_id)
    servers = await services.database.read(lambda tx: memberships.joined_servers(tx, room.room_nid))
    joined = {user.partition(":")[2] for user, membership in table.items() if membership == "join"}
    assert set(servers) == joined
    assert bobs.event_id != state["m.room.member", BOB]


async def test_a_unit_that_failed_is_repeated_by_the_next(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    join = await joined_from(services, room_id, BOB)
    topic = await event_after(
        services, room_id, [join], BOB, "m.room.member", {"membership": "join", "displayname": "B"}, BOB
    )
    before = services.notifier.position

    async def failing(tx: Transaction) -> tuple[None, None]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = await GraphWriter.open(tx, services.states, services.server_name, room)
        await writer.add(topic)
        await writer.close()
        raise LookupError

    with pytest.raises(LookupError):
        await services.writes.run(room_id, failing)
    assert await verdict(services, room_id, topic) is Verdict.ACCEPTED
    assert (await stored(services, topic.event_id)).position == before + 1
    assert services.notifier.position == before + 1


async def test_a_caller_who_goes_away_does_not_stop_the_unit(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    told = len(services.committed)
    sending = asyncio.create_task(services.say(room_id, ALICE, "still sent"))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await services.say(room_id, ALICE, "after it")
    assert len(services.committed) == told + 2


async def test_a_room_without_events_has_no_state(services: RoomServices) -> None:
    room = await services.database.write(lambda tx: rooms.create(tx, "!empty:ours.test", "11"))
    assert room.current_state == EMPTY
    assert await ends(services, room.room_id) == set()
