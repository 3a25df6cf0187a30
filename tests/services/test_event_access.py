"""Who may read what of a room: members, those who have left, those who look in, and history that came late."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services.event_access import access, last_stay, visible
from homeserver.services.timeline import Draft
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from tests.support.rooms import RoomServices

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"


async def membership(services: RoomServices, room_id: str, sender: str, user_id: str, kind: str) -> str:
    return await services.timeline.send(
        room_id, Draft(sender, "m.room.member", {"membership": kind}, user_id)
    )


async def test_members_read_the_present(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    may = await services.database.read(lambda tx: access(tx, services.states, room_id, ALICE))
    assert (may.is_joined, may.until, may.state) == (True, None, may.room.current_state)


@pytest.mark.parametrize("kinds", [(), ("invite",), ("invite", "leave"), ("ban",)])
async def test_who_was_never_joined_reads_nothing(services: RoomServices, kinds: tuple[str, ...]) -> None:
    room_id = await services.room(ALICE)
    for kind in kinds:
        await membership(services, room_id, ALICE, BOB, kind)
    with pytest.raises(MatrixError) as refused:
        await services.database.read(lambda tx: access(tx, services.states, room_id, BOB))
    assert refused.value.errcode == "M_FORBIDDEN"


@pytest.mark.parametrize("afterwards", [(), ("ban",), ("ban", "leave"), ("invite",)])
async def test_who_has_left_reads_up_to_leaving(services: RoomServices, afterwards: tuple[str, ...]) -> None:
    room_id = await services.room(ALICE)
    await services.join(room_id, BOB)
    before = await services.say(room_id, ALICE, "before")
    left = await membership(services, room_id, BOB, BOB, "leave")
    after = await services.say(room_id, ALICE, "after")
    for kind in afterwards:
        await membership(services, room_id, ALICE, BOB, kind)

    async def work(tx: Transaction) -> Any:
        stored = await stored_events.get_many(tx, [before, left, after])
        may = await access(tx, services.states, room_id, BOB)
        seen = await visible(tx, services.states, BOB, [stored[before], stored[left], stored[after]])
        return may, stored[left], seen

    may, leaving, seen = await services.database.read(work)
    assert may.until == leaving.position and not may.is_joined and may.state == leaving.state_after
    assert [each.stored.event.event_id for each in seen] == [before, left]


async def test_history_that_came_late_has_its_place_in_the_room(services: RoomServices) -> None:
    """What happened after somebody left stays hidden, though it was fetched as history."""
    room_id = await services.room(ALICE)
    await services.join(room_id, BOB)
    early = await services.say(room_id, ALICE, "early")
    await membership(services, room_id, BOB, BOB, "leave")
    late = await services.say(room_id, ALICE, "late")

    async def work(tx: Transaction) -> Any:
        room = await rooms.get(tx, room_id)
        assert room is not None
        stay = await last_stay(tx, services.states, room.room_nid, BOB)
        return stay, await stored_events.get_many(tx, [early, late])

    stay, stored = await services.database.read(work)
    assert stay.begins_after(stored[early]) and not stay.begins_after(stored[late])
    assert stay.begins_after(replace(stored[early], position=-5))
    assert not stay.begins_after(replace(stored[late], position=-5))
    assert not stay.begins_after(replace(stored[early], position=None))
