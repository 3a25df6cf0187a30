"""Redactions: in which order they may come, what they take away, and who is shown them."""

from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.services.history_writes import HistoryWriter
from homeserver.services.outliers import import_outliers
from homeserver.services.room_graph import Verdict
from homeserver.services.timeline import Draft
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus
from tests.support.graph import end_of, event_after, joined_from, offer, room_of, stored
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL = "@alice:ours.test", "@bob:beta.test", "@carol:gamma.test"
# What they do differs between these: where the target is named, who may, what is left.
VERSIONS = ["1", "3", "6", "9", "10", "11", "12"]


@pytest.fixture
def services(database: Database) -> RoomServices:
    return RoomServices(database)


async def room_with_bob(services: RoomServices, version: str) -> tuple[str, Event]:
    room_id = await services.room(ALICE, version)
    return room_id, await joined_from(services, room_id, BOB)


async def said(services: RoomServices, room_id: str, sender: str, *prev: Event) -> Event:
    content = {"msgtype": "m.text", "body": "secret"}
    return await event_after(services, room_id, prev, sender, "m.room.message", content)


async def redaction_of(
    services: RoomServices, room_id: str, target: Event, sender: str, *prev: Event, **options: Any
) -> Event:
    return await event_after(
        services,
        room_id,
        prev,
        sender,
        "m.room.redaction",
        {"reason": "spam"},
        redacts=target.event_id,
        **options,
    )


async def shown(services: RoomServices, room_id: str) -> list[str]:
    """What clients are shown of the room."""
    room = await room_of(services, room_id)
    found, _ = await services.database.read(
        lambda tx: stored_events.timeline(tx, room.room_nid, after=0, up_to=2**60, limit=100)
    )
    return [each.event.event_id for each in found]


async def is_redacted_by(services: RoomServices, target: Event, redaction: Event) -> bool:
    found = await stored(services, target.event_id)
    assert (found.redacted_by is not None) == (b"secret" not in found.event.canonical)
    return found.redacted_by == redaction.event_id


@pytest.mark.parametrize("version", VERSIONS)
async def test_one_redacts_ones_own(services: RoomServices, version: str) -> None:
    room_id, join = await room_with_bob(services, version)
    target = await said(services, room_id, BOB, join)
    await offer(services, room_id, target)
    redaction = await redaction_of(services, room_id, target, BOB, target)
    await offer(services, room_id, redaction)
    assert await is_redacted_by(services, target, redaction)
    assert redaction.event_id in await shown(services, room_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_redaction_that_comes_before_its_target_waits_for_it(
    services: RoomServices, version: str
) -> None:
    room_id, join = await room_with_bob(services, version)
    target = await said(services, room_id, BOB, join)
    redaction = await redaction_of(services, room_id, target, BOB, join)
    await offer(services, room_id, redaction)
    if version != "1":  # there the auth rules have judged it already
        assert redaction.event_id not in await shown(services, room_id)
    await offer(services, room_id, target)
    assert await is_redacted_by(services, target, redaction)
    assert redaction.event_id in await shown(services, room_id)


@pytest.mark.parametrize("version", ["3", "11", "12"])
async def test_a_redaction_of_what_another_server_sent_needs_the_level(
    services: RoomServices, version: str
) -> None:
    room_id, _ = await room_with_bob(services, version)
    target_id = await services.say(room_id, ALICE, "secret")
    target = (await stored(services, target_id)).event
    redaction = await redaction_of(services, room_id, target, BOB, target)
    (outcome,) = await offer(services, room_id, redaction)
    assert outcome.verdict is Verdict.ACCEPTED
    assert (await stored(services, target_id)).redacted_by is None
    # or a client would take the target away on its own
    assert redaction.event_id not in await shown(services, room_id)
    assert (await stored(services, redaction.event_id)).status is EventStatus.WITHHELD
    # the graph goes on from it all the same
    assert (await end_of(services, room_id)).event_id == redaction.event_id
    await services.say(room_id, ALICE, "on")


@pytest.mark.parametrize("version", ["1", "2"])
async def test_where_the_auth_rules_judge_redactions_they_refuse_it(
    services: RoomServices, version: str
) -> None:
    room_id, _ = await room_with_bob(services, version)
    target = (await stored(services, await services.say(room_id, ALICE, "secret"))).event
    redaction = await redaction_of(services, room_id, target, BOB, target)
    (outcome,) = await offer(services, room_id, redaction)
    assert outcome.verdict is Verdict.REJECTED
    assert (await stored(services, target.event_id)).redacted_by is None


@pytest.mark.parametrize("version", ["1", "3", "11", "12"])
async def test_who_has_the_level_redacts_what_others_sent(services: RoomServices, version: str) -> None:
    room_id, join = await room_with_bob(services, version)
    target = await said(services, room_id, BOB, join)
    await offer(services, room_id, target)
    redaction_id = await services.timeline.send(
        room_id, Draft(ALICE, "m.room.redaction", {}, redacts=target.event_id)
    )
    redaction = (await stored(services, redaction_id)).event
    assert await is_redacted_by(services, target, redaction)


async def test_the_first_of_two_redactions_stays_and_both_are_shown(services: RoomServices) -> None:
    room_id, join = await room_with_bob(services, "11")
    target = await said(services, room_id, BOB, join)
    first = await redaction_of(services, room_id, target, BOB, join)
    second = await redaction_of(services, room_id, target, BOB, join)
    await offer(services, room_id, target, first, second)
    assert await is_redacted_by(services, target, first)
    third = await redaction_of(services, room_id, target, BOB, first, second)
    await offer(services, room_id, third)
    assert await is_redacted_by(services, target, first)
    assert {first.event_id, second.event_id, third.event_id} <= set(await shown(services, room_id))


async def test_an_outlier_is_redacted(services: RoomServices) -> None:
    room_id, join = await room_with_bob(services, "11")
    room = await room_of(services, room_id)
    early, late = await said(services, room_id, BOB, join), await said(services, room_id, BOB, join)

    async def import_them(tx: Transaction, *events: Event) -> tuple[None, None]:
        await import_outliers(tx, services.states, room, events, {})
        return None, None

    await services.writes.run(room_id, lambda tx: import_them(tx, early))
    first = await redaction_of(services, room_id, early, BOB, join)
    second = await redaction_of(services, room_id, late, BOB, join)
    await offer(services, room_id, first, second)
    assert await is_redacted_by(services, early, first)
    await services.writes.run(room_id, lambda tx: import_them(tx, late))
    assert await is_redacted_by(services, late, second)
    # and it stays so when the event itself comes
    await offer(services, room_id, early)
    assert await is_redacted_by(services, early, first)


async def test_history_that_comes_later_is_redacted(services: RoomServices) -> None:
    room_id, join = await room_with_bob(services, "11")
    target = await said(services, room_id, BOB, join)
    redaction = await redaction_of(services, room_id, target, BOB, join)
    await offer(services, room_id, redaction)
    before = (await stored(services, join.event_id)).state_after

    async def work(tx: Transaction) -> tuple[None, None]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = HistoryWriter(tx, services.states, room)
        assert await writer.add(target, before) is None
        await writer.close()
        return None, None

    await services.writes.run(room_id, work)
    assert await is_redacted_by(services, target, redaction)
    assert redaction.event_id in await shown(services, room_id)


async def test_a_redaction_of_a_redaction_undoes_nothing(services: RoomServices) -> None:
    room_id, join = await room_with_bob(services, "9")
    target = await said(services, room_id, BOB, join)
    first = await redaction_of(services, room_id, target, BOB, join)
    second = await redaction_of(services, room_id, first, BOB, first, state_of=join)
    await offer(services, room_id, first, second)
    await offer(services, room_id, target)
    assert await is_redacted_by(services, target, first)


async def test_another_room_is_out_of_reach(services: RoomServices) -> None:
    here, join = await room_with_bob(services, "11")
    there, foreign = await room_with_bob(services, "11")
    target = await said(services, there, BOB, foreign)
    await offer(services, there, target)
    redaction = await redaction_of(services, here, target, BOB, join)
    await offer(services, here, redaction)
    assert (await stored(services, target.event_id)).redacted_by is None


async def test_a_soft_failed_redaction_takes_nothing_away(services: RoomServices) -> None:
    room_id, join = await room_with_bob(services, "11")
    target = await said(services, room_id, BOB, join)
    await offer(services, room_id, target)
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "ban"}, BOB))
    redaction = await redaction_of(services, room_id, target, BOB, target)
    (outcome,) = await offer(services, room_id, redaction)
    assert outcome.verdict is Verdict.SOFT_FAILED
    assert (await stored(services, target.event_id)).redacted_by is None


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
async def test_redacted_state_is_in_force_with_what_is_left_of_it(
    services: RoomServices, version: str
) -> None:
    room_id, _ = await room_with_bob(services, version)
    invite = await services.timeline.send(
        room_id, Draft(ALICE, "m.room.member", {"membership": "invite", "reason": "secret"}, CAROL)
    )
    redaction_id = await services.timeline.send(room_id, Draft(ALICE, "m.room.redaction", {}, redacts=invite))
    found = await stored(services, invite)
    assert found.redacted_by == redaction_id
    assert found.event.content == {"membership": "invite"}
    # "a redacted join event will still result in the user being considered joined": Carol is still invited
    await services.timeline.send(room_id, Draft(ALICE, "m.room.join_rules", {"join_rule": "invite"}, ""))
    assert (await joined_from(services, room_id, CAROL)).membership == "join"


@pytest.mark.parametrize("version", ["10", "11"])
async def test_power_levels_that_are_redacted_lose_what_the_version_does_not_keep(
    services: RoomServices, version: str
) -> None:
    room_id, _ = await room_with_bob(services, version)
    levels = {"users": {ALICE: 100}, "invite": 50}
    level_id = await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", levels, ""))
    await services.timeline.send(room_id, Draft(ALICE, "m.room.redaction", {}, redacts=level_id))
    # "invite" is kept from version 11 on; before, redacting it lets everyone invite
    end = await end_of(services, room_id)
    invite = await event_after(
        services, room_id, [end], BOB, "m.room.member", {"membership": "invite"}, CAROL
    )
    (outcome,) = await offer(services, room_id, invite)
    assert outcome.verdict is (Verdict.ACCEPTED if version == "10" else Verdict.REJECTED)


@pytest.mark.parametrize("version", ["6", "11"])
async def test_the_create_event_cannot_be_redacted(services: RoomServices, version: str) -> None:
    room_id, _ = await room_with_bob(services, version)
    room = await room_of(services, room_id)
    create = await services.database.read(
        lambda tx: services.states.event(tx, room.current_state, "m.room.create")
    )
    assert create is not None
    await services.timeline.send(room_id, Draft(ALICE, "m.room.redaction", {}, redacts=create.event_id))
    assert (await stored(services, create.event_id)).redacted_by is None


async def test_what_was_redacted_without_its_place_stays_so_when_history_brings_it(
    services: RoomServices,
) -> None:
    room_id, join = await room_with_bob(services, "11")
    target = await said(services, room_id, BOB, join)
    room = await room_of(services, room_id)
    before = (await stored(services, join.event_id)).state_after

    async def known_without_place(tx: Transaction) -> tuple[None, None]:
        await import_outliers(tx, services.states, room, [target], {})
        return None, None

    async def fetched(tx: Transaction) -> tuple[None, None]:
        current = await rooms.get(tx, room_id)
        assert current is not None
        writer = HistoryWriter(tx, services.states, current)
        assert await writer.add(target, before) is None
        assert await writer.close() == 1
        again = HistoryWriter(tx, services.states, current)
        assert await again.add(target, before) is not None
        return None, None

    await services.writes.run(room_id, known_without_place)
    redaction = await redaction_of(services, room_id, target, BOB, join)
    await offer(services, room_id, redaction)
    await services.writes.run(room_id, fetched)
    assert await is_redacted_by(services, target, redaction)
