"""/sync below HTTP: sections, deltas, limits, lazy-loaded members, and waking."""

import asyncio
from typing import Any

import msgspec
import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.filters import Filter, RoomEventFilter, RoomFilter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import parse_stream_token
from homeserver.services.sync import SyncRequest
from homeserver.services.timeline import Draft
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from tests.support.client import no_news
from tests.support.rooms import RoomServices

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"


async def sync(services: RoomServices, user_id: str, since: str | None = None, **options: Any) -> Any:
    position = parse_stream_token(since) if since else None
    filter_ = options.pop("filter", Filter())
    request = SyncRequest(Requester(user_id, "DEV", 1), filter_, position, **options)
    return msgspec.json.decode(msgspec.json.encode(await services.sync.sync(request)))


def bodies(section: Any) -> list[str]:
    return [
        event["content"].get("body")
        for event in section["timeline"]["events"]
        if event["type"] == "m.room.message"
    ]


def state_of(section: Any, name: str = "state") -> dict[tuple[str, str], Any]:
    return {(event["type"], event["state_key"]): event["content"] for event in section[name]["events"]}


async def test_an_initial_sync_shows_the_whole_of_a_small_room(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.say(room_id, ALICE, "hello")
    answer = await sync(services, ALICE)
    room = answer["rooms"]["join"][room_id]
    assert bodies(room) == ["hello"]
    assert room["timeline"]["limited"] is False
    assert room["state"]["events"] == []
    assert room["summary"] == {"m.joined_member_count": 1, "m.invited_member_count": 0, "m.heroes": []}
    assert all("room_id" not in event for event in room["timeline"]["events"])


async def test_what_the_timeline_leaves_out_is_in_the_state(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    for number in range(12):
        await services.say(room_id, ALICE, str(number))
    room = (await sync(services, ALICE))["rooms"]["join"][room_id]
    assert bodies(room) == [str(number) for number in range(2, 12)]
    assert room["timeline"]["limited"] is True
    assert set(state_of(room)) == {
        ("m.room.create", ""),
        ("m.room.member", ALICE),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
    }
    assert parse_stream_token(room["timeline"]["prev_batch"]) < parse_stream_token(
        (await sync(services, ALICE))["next_batch"]
    )


async def test_a_delta_holds_what_is_new_and_nothing_else(services: RoomServices) -> None:
    room_id, quiet = await services.room(ALICE), await services.room(ALICE)
    since = (await sync(services, ALICE))["next_batch"]
    await services.say(room_id, ALICE, "new")
    answer = await sync(services, ALICE, since)
    assert set(answer["rooms"]["join"]) == {room_id} and quiet not in answer["rooms"]["join"]
    room = answer["rooms"]["join"][room_id]
    assert bodies(room) == ["new"] and room["state"]["events"] == [] and "summary" not in room
    nothing = await sync(services, ALICE, answer["next_batch"])
    assert nothing == no_news(answer["next_batch"])


async def test_state_in_a_gap_is_told(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    since = (await sync(services, ALICE))["next_batch"]
    await services.timeline.send(room_id, Draft(ALICE, "m.room.topic", {"topic": "old"}, ""))
    for number in range(11):
        await services.say(room_id, ALICE, str(number))
    await services.timeline.send(room_id, Draft(ALICE, "m.room.topic", {"topic": "new"}, ""))
    room = (await sync(services, ALICE, since))["rooms"]["join"][room_id]
    assert room["timeline"]["limited"] is True
    assert state_of(room)[("m.room.topic", "")] == {"topic": "old"}
    after = (await sync(services, ALICE, since, use_state_after=True))["rooms"]["join"][room_id]
    assert "state" not in after
    assert state_of(after, "state_after")[("m.room.topic", "")] == {"topic": "new"}


async def test_a_room_just_joined_is_shown_from_its_beginning(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.say(room_id, ALICE, "before")
    since = (await sync(services, BOB))["next_batch"]
    await services.join(room_id, BOB)
    room = (await sync(services, BOB, since))["rooms"]["join"][room_id]
    assert bodies(room) == ["before"]
    assert room["summary"]["m.joined_member_count"] == 2
    assert room["summary"]["m.heroes"] == [ALICE]


async def test_an_invite_is_shown_with_stripped_state(services: RoomServices) -> None:
    room_id = await services.room(ALICE, join_rule="invite")
    await services.timeline.send(room_id, Draft(ALICE, "m.room.name", {"name": "Lobby"}, ""))
    since = (await sync(services, BOB))["next_batch"]
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "invite"}, BOB))
    for answer in (await sync(services, BOB, since), await sync(services, BOB)):
        events = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
        assert {event["type"] for event in events} == {
            "m.room.create",
            "m.room.name",
            "m.room.join_rules",
            "m.room.member",
        }
        assert all(set(event) == {"type", "state_key", "sender", "content"} for event in events)
    await services.join(room_id, BOB)
    assert set((await sync(services, BOB, since))["rooms"]) == {"join"}


async def test_a_room_left_is_shown_up_to_leaving(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.join(room_id, BOB)
    since = (await sync(services, BOB))["next_batch"]
    await services.say(room_id, ALICE, "goodbye")
    await services.timeline.send(room_id, Draft(BOB, "m.room.member", {"membership": "leave"}, BOB))
    await services.say(room_id, ALICE, "gone")
    answer = await sync(services, BOB, since)
    left = answer["rooms"]["leave"][room_id]
    assert bodies(left) == ["goodbye"]
    assert left["timeline"]["events"][-1]["content"]["membership"] == "leave"
    assert "rooms" not in await sync(services, BOB)
    archived = Filter(room=RoomFilter(include_leave=True))
    assert bodies((await sync(services, BOB, filter=archived))["rooms"]["leave"][room_id]) == ["goodbye"]


async def test_a_refused_invite_tells_nothing_of_the_room(services: RoomServices) -> None:
    room_id = await services.room(ALICE, join_rule="invite")
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "invite"}, BOB))
    since = (await sync(services, BOB))["next_batch"]
    await services.timeline.send(room_id, Draft(BOB, "m.room.member", {"membership": "leave"}, BOB))
    left = (await sync(services, BOB, since))["rooms"]["leave"][room_id]
    assert [event["sender"] for event in left["timeline"]["events"]] == [BOB]
    assert ("m.room.join_rules", "") not in state_of(left)


async def test_lazy_loading_leaves_out_silent_members(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    for number in range(12):
        await services.join(room_id, f"@user{number}:ours.test")
    await services.join(room_id, BOB)
    for number in range(10):
        await services.say(room_id, BOB, str(number))
    lazy = Filter(room=RoomFilter(state=RoomEventFilter(lazy_load_members=True)))
    answer = await sync(services, ALICE, filter=lazy)
    members = {key[1] for key in state_of(answer["rooms"]["join"][room_id]) if key[0] == "m.room.member"}
    heroes = set(answer["rooms"]["join"][room_id]["summary"]["m.heroes"])
    assert members == {ALICE, BOB} | heroes
    await services.say(room_id, BOB, "again")
    await services.say(room_id, "@user11:ours.test", "first words")
    delta = await sync(services, ALICE, answer["next_batch"], filter=lazy)
    assert {key[1] for key in state_of(delta["rooms"]["join"][room_id])} == {"@user11:ours.test"}


async def test_filters_reach_behind_what_they_leave_out(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.say(room_id, ALICE, "wanted")
    for number in range(30):
        await services.timeline.send(room_id, Draft(ALICE, "x.noise", {"n": number}))
    only = Filter(room=RoomFilter(timeline=RoomEventFilter(types=("m.room.message",), limit=1)))
    assert bodies((await sync(services, ALICE, filter=only))["rooms"]["join"][room_id]) == ["wanted"]


async def test_a_long_poll_wakes_for_its_rooms_alone(services: RoomServices) -> None:
    room_id, other = await services.room(ALICE), await services.room(BOB)
    since = (await sync(services, ALICE))["next_batch"]
    poll = asyncio.create_task(sync(services, ALICE, since, timeout_ms=60_000))
    await services.say(other, BOB, "elsewhere")
    await services.say(room_id, ALICE, "here")
    answer = await asyncio.wait_for(poll, 30)
    assert list(answer["rooms"]["join"]) == [room_id]
    assert bodies(answer["rooms"]["join"][room_id]) == ["here"]


async def test_a_long_poll_wakes_for_an_invite(services: RoomServices) -> None:
    room_id = await services.room(ALICE, join_rule="invite")
    since = (await sync(services, BOB))["next_batch"]
    poll = asyncio.create_task(sync(services, BOB, since, timeout_ms=60_000))
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "invite"}, BOB))
    assert room_id in (await asyncio.wait_for(poll, 30))["rooms"]["invite"]


async def test_history_before_joining_stays_hidden_when_it_is_for_members(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    hidden = {"history_visibility": "joined"}
    await services.timeline.send(room_id, Draft(ALICE, "m.room.history_visibility", hidden, ""))
    await services.say(room_id, ALICE, "secret")
    await services.join(room_id, BOB)
    await services.say(room_id, ALICE, "open")
    assert bodies((await sync(services, BOB))["rooms"]["join"][room_id]) == ["open"]


async def test_a_token_of_the_future_is_refused(services: RoomServices) -> None:
    with pytest.raises(MatrixError) as refused:
        await sync(services, ALICE, "s999")
    assert refused.value.errcode == "M_INVALID_PARAM"
    with pytest.raises(MatrixError):
        parse_stream_token("nonsense")


async def test_a_timeline_begins_where_events_are_missing(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    since = (await sync(services, ALICE))["next_batch"]
    before = await services.say(room_id, ALICE, "before the gap")
    await services.say(room_id, ALICE, "after the gap")
    await services.say(room_id, ALICE, "newest")

    async def open_gap(tx: Transaction) -> None:
        room = await rooms.get(tx, room_id)
        assert room is not None
        await rooms.change_backward_extremities(tx, room.room_nid, add={before: 9}, remove=())

    await services.database.write(open_gap)
    for token in (None, since):
        timeline = (await sync(services, ALICE, token))["rooms"]["join"][room_id]["timeline"]
        assert [event["content"]["body"] for event in timeline["events"]] == ["after the gap", "newest"]
        assert timeline["limited"] is True
