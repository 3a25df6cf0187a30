"""/sync over HTTP: its parameters, sections, filters and tokens."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import no_news
from tests.support.room_server import ALICE, BOB, CAROL, RoomServer


def texts(section: Any) -> list[str]:
    events = section["timeline"]["events"]
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def members(section: Any, name: str = "state") -> set[str]:
    return {event["state_key"] for event in section[name]["events"] if event["type"] == "m.room.member"}


async def test_nothing_at_all(rooms: RoomServer) -> None:
    answer = await rooms.alice.sync()
    # There are push rules also where nobody has changed any.
    assert [event["type"] for event in answer.pop("account_data")["events"]] == ["m.push_rules"]
    expected = no_news(answer["next_batch"])
    assert await rooms.alice.sync(answer["next_batch"]) == expected
    # "only present on an incremental sync"
    del expected["device_lists"]
    assert answer == expected
    assert (await rooms.alice.http.get("/_matrix/client/r0/sync")).ok()["next_batch"] == answer["next_batch"]


async def test_a_session_of_syncs(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="Lobby", invite=[BOB])
    first = await rooms.bob.sync()
    stripped = first["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert all(set(event) == {"type", "state_key", "sender", "content"} for event in stripped)
    assert {event["type"] for event in stripped} >= {"m.room.create", "m.room.name", "m.room.member"}
    await rooms.bob.join(room_id)
    second = await rooms.bob.sync(first["next_batch"])
    joined = second["rooms"]["join"][room_id]
    assert set(second["rooms"]) == {"join"}
    assert joined["summary"] == {"m.joined_member_count": 2, "m.invited_member_count": 0}
    assert set(joined) == {
        "summary",
        "state",
        "timeline",
        "ephemeral",
        "account_data",
        "unread_notifications",
    }
    await rooms.alice.say(room_id, "hello")
    third = await rooms.bob.sync(second["next_batch"])
    section = third["rooms"]["join"][room_id]
    assert texts(section) == ["hello"] and section["state"]["events"] == []
    assert "room_id" not in section["timeline"]["events"][0]
    assert section["timeline"]["events"][0]["unsigned"]["membership"] == "join"
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/kick", {"user_id": BOB})).ok()
    await rooms.alice.say(room_id, "after")
    fourth = await rooms.bob.sync(third["next_batch"])
    left = fourth["rooms"]["leave"][room_id]
    assert texts(left) == [] and left["timeline"]["events"][-1]["content"]["membership"] == "leave"
    assert "rooms" not in await rooms.bob.sync(fourth["next_batch"])


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"since": "nonsense"}, "M_INVALID_PARAM"),
        ({"since": "s999999"}, "M_INVALID_PARAM"),
        ({"since": "t1_1"}, "M_INVALID_PARAM"),
        ({"filter": "unknown"}, "M_INVALID_PARAM"),
        ({"filter": "{"}, "M_NOT_JSON"),
        ({"filter": '{"room": 7}'}, "M_BAD_JSON"),
        ({"timeout": "soon"}, "M_INVALID_PARAM"),
        ({"full_state": "maybe"}, "M_INVALID_PARAM"),
        ({"set_presence": "asleep"}, "M_INVALID_PARAM"),
    ],
)
async def test_parameters_that_are_refused(rooms: RoomServer, query: dict[str, str], errcode: str) -> None:
    (await rooms.alice.get("/sync", **query)).refused(400, errcode)


@pytest.mark.parametrize("presence", ["offline", "online", "unavailable"])
async def test_presence_and_odd_timeouts_are_accepted(rooms: RoomServer, presence: str) -> None:
    since = (await rooms.alice.sync(set_presence=presence))["next_batch"]
    await rooms.alice.sync(since, timeout=-5, full_state="false", use_state_after="false")
    await rooms.alice.sync(timeout=10**12)


async def test_it_waits_and_wakes_at_once(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(invite=[BOB])
    since = (await rooms.alice.sync())["next_batch"]
    began = time.monotonic()
    nothing = await rooms.alice.sync(since, timeout=150)
    assert "rooms" not in nothing and time.monotonic() - began >= 0.15
    poll = asyncio.create_task(rooms.alice.sync(since, timeout=60_000))
    await rooms.bob.join(room_id)
    answer = await asyncio.wait_for(poll, 30)
    assert answer["rooms"]["join"][room_id]["timeline"]["events"][0]["state_key"] == BOB


async def test_full_state_answers_at_once(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="Lobby", preset="public_chat")
    invited = await rooms.bob.create(invite=[ALICE])
    since = (await rooms.alice.sync())["next_batch"]
    answer = await rooms.alice.sync(since, full_state="true", timeout=60_000)
    section = answer["rooms"]["join"][room_id]
    assert section["timeline"]["events"] == [] and section["timeline"]["limited"] is False
    types = {event["type"] for event in section["state"]["events"]}
    assert types >= {"m.room.create", "m.room.name", "m.room.member", "m.room.power_levels"}
    assert invited in answer["rooms"]["invite"]


async def test_state_after(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="one")
    first = await rooms.alice.sync(use_state_after="true")
    section = first["rooms"]["join"][room_id]
    assert "state" not in section
    assert {"m.room.create", "m.room.name"} <= {e["type"] for e in section["state_after"]["events"]}
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "two"})).ok()
    await rooms.alice.say(room_id, "x")
    second = (await rooms.alice.sync(first["next_batch"], use_state_after="true"))["rooms"]["join"][room_id]
    assert [event["content"] for event in second["state_after"]["events"]] == [{"name": "two"}]
    assert len(second["timeline"]["events"]) == 2


async def test_lazy_members_with_state_after(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    await rooms.carol.join(room_id)
    lazy = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}'
    section = (await rooms.alice.sync(use_state_after="true", filter=lazy))["rooms"]["join"][room_id]
    # Those in the timeline too: it is no source of state then.
    assert members(section, "state_after") == {ALICE, BOB, CAROL}


async def test_lazy_members_are_told_once_they_arrived(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="Lobby")
    await rooms.bob.join(room_id)
    await rooms.carol.join(room_id)
    for _ in range(3):
        await rooms.carol.say(room_id, "x")
    lazy = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}'
    first = await rooms.alice.sync(filter=lazy)
    assert members(first["rooms"]["join"][room_id]) == {ALICE, CAROL}
    await rooms.bob.say(room_id, "1")
    second = await rooms.alice.sync(first["next_batch"], filter=lazy)
    assert members(second["rooms"]["join"][room_id]) == {BOB}
    again = await rooms.alice.sync(first["next_batch"], filter=lazy)
    assert members(again["rooms"]["join"][room_id]) == {BOB}, "the answer may have been lost"
    await rooms.bob.say(room_id, "2")
    third = await rooms.alice.sync(again["next_batch"], filter=lazy)
    assert members(third["rooms"]["join"][room_id]) == set()
    redundant = lazy.replace('"lazy', '"include_redundant_members":true,"lazy')
    await rooms.bob.say(room_id, "3")
    fourth = await rooms.alice.sync(third["next_batch"], filter=redundant)
    assert members(fourth["rooms"]["join"][room_id]) == {BOB}
    back = await rooms.alice.sync(second["next_batch"], filter=lazy)
    assert members(back["rooms"]["join"][room_id]) == {BOB}, "a device that went back has lost its members"


async def test_members_in_a_gap_are_told(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    lazy = '{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}'
    since = (await rooms.alice.sync(filter=lazy))["next_batch"]
    await rooms.bob.join(room_id)
    await rooms.alice.say(room_id, "x")
    section = (await rooms.alice.sync(since, filter=lazy))["rooms"]["join"][room_id]
    assert section["timeline"]["limited"] is True
    assert members(section) >= {BOB}


async def test_filters_by_id_and_in_line(rooms: RoomServer) -> None:
    room_id, other = await rooms.alice.create(name="Lobby"), await rooms.alice.create()
    await rooms.alice.say(room_id, "x")
    wanted = {
        "room": {
            "rooms": [room_id],
            "timeline": {"types": ["m.room.message"]},
            "state": {"types": ["m.room.name"]},
        }
    }
    defined = await rooms.alice.post(f"/user/{quote(ALICE)}/filter", wanted)
    for given in (defined.ok()["filter_id"], json.dumps(wanted)):
        answer = await rooms.alice.sync(filter=given)
        assert set(answer["rooms"]["join"]) == {room_id} and other != room_id
        section = answer["rooms"]["join"][room_id]
        assert [event["type"] for event in section["timeline"]["events"]] == ["m.room.message"]
        assert [event["type"] for event in section["state"]["events"]] == ["m.room.name"]
    hidden = {"room": {"timeline": {"not_rooms": [room_id]}, "state": {"not_rooms": [room_id]}}}
    section = (await rooms.alice.sync(filter=json.dumps(hidden)))["rooms"]["join"][room_id]
    assert section["timeline"]["events"] == [] and section["state"]["events"] == []


async def test_no_timeline_at_all(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    none = '{"room":{"timeline":{"limit":0}}}'
    first = await rooms.alice.sync(filter=none)
    section = first["rooms"]["join"][room_id]
    assert section["timeline"]["events"] == [] and section["timeline"]["limited"] is True
    assert "m.room.create" in {event["type"] for event in section["state"]["events"]}
    page = await rooms.alice.messages(room_id, dir="b", start=section["timeline"]["prev_batch"], limit=100)
    assert page["chunk"][-1]["type"] == "m.room.create"


async def test_event_fields_and_format(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (
        await rooms.alice.send(room_id, {"msgtype": "m.text", "body": "x", "m.relates_to": {"a": 1, "b": 2}})
    ).ok()
    wanted = {"event_fields": ["type", "content.body", "content.m\\.relates_to.a", "content.none", "x.y"]}
    fields = await rooms.alice.sync(filter=json.dumps(wanted))
    event = fields["rooms"]["join"][room_id]["timeline"]["events"][-1]
    assert event == {"type": "m.room.message", "content": {"body": "x", "m.relates_to": {"a": 1}}}
    raw = await rooms.alice.sync(filter='{"event_format":"federation"}')
    event = raw["rooms"]["join"][room_id]["timeline"]["events"][-1]
    assert {"auth_events", "prev_events", "depth", "hashes", "signatures", "unsigned"} <= set(event)


async def test_a_room_joined_and_left_between_two_syncs(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="Lobby")
    since = (await rooms.bob.sync())["next_batch"]
    await rooms.bob.join(room_id)
    await rooms.alice.say(room_id, "hello")
    await rooms.bob.leave(room_id)
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "later"})).ok()
    section = (await rooms.bob.sync(since))["rooms"]["leave"][room_id]
    shown = {
        (event["type"], event.get("state_key")): event["content"]
        for event in (*section["state"]["events"], *section["timeline"]["events"])
    }
    assert shown["m.room.name", ""] == {"name": "Lobby"}, "all of the room is new to bob"
    assert texts(section) == ["hello"]


async def test_who_is_banned_after_leaving_sees_nothing_of_the_time_between(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="before")
    await rooms.bob.join(room_id)
    since = (await rooms.bob.sync())["next_batch"]
    await rooms.bob.leave(room_id)
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "after"})).ok()
    await rooms.alice.say(room_id, "secret")
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": BOB})).ok()
    section = (await rooms.bob.sync(since))["rooms"]["leave"][room_id]
    assert texts(section) == []
    names = [event["content"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert {"name": "after"} not in names
    assert [event["content"]["membership"] for event in section["timeline"]["events"]] == ["leave", "ban"]


async def test_a_room_joined_again_is_shown_whole(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="Lobby")
    await rooms.bob.join(room_id)
    since = (await rooms.bob.sync())["next_batch"]
    await rooms.bob.leave(room_id)
    for number in range(12):
        await rooms.alice.say(room_id, str(number))
    await rooms.bob.join(room_id)
    section = (await rooms.bob.sync(since))["rooms"]["join"][room_id]
    assert section["timeline"]["limited"] is True
    assert {"m.room.create", "m.room.name"} <= {event["type"] for event in section["state"]["events"]}


async def test_a_room_that_loses_its_name_gets_heroes(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="Lobby")
    await rooms.bob.join(room_id)
    first = await rooms.alice.sync()
    assert "m.heroes" not in first["rooms"]["join"][room_id]["summary"]
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": ""})).ok()
    second = await rooms.alice.sync(first["next_batch"])
    assert second["rooms"]["join"][room_id]["summary"]["m.heroes"] == [BOB]
