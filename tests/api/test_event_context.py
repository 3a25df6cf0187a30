"""What happened around an event."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, BOB, RoomServer


async def filled(rooms: RoomServer) -> tuple[str, list[str]]:
    room_id = await rooms.alice.create(preset="public_chat")
    return room_id, [await rooms.alice.say(room_id, str(number)) for number in range(20)]


def ids(events: Any) -> list[str]:
    return [event["event_id"] for event in events]


async def test_the_events_before_and_after(rooms: RoomServer) -> None:
    room_id, sent = await filled(rooms)
    path = f"/rooms/{quote(room_id)}/context/{quote(sent[10])}"
    answer = (await rooms.alice.get(path)).ok()
    assert answer["event"]["event_id"] == sent[10]
    assert ids(answer["events_before"]) == sent[5:10][::-1]
    assert ids(answer["events_after"]) == sent[11:16]
    assert {event["type"] for event in answer["state"]} >= {"m.room.create", "m.room.member"}
    before = await rooms.alice.messages(room_id, dir="b", start=answer["start"], limit=2)
    assert ids(before["chunk"]) == [sent[4], sent[3]]
    after = await rooms.alice.messages(room_id, dir="f", start=answer["end"], limit=2)
    assert ids(after["chunk"]) == [sent[16], sent[17]]


async def test_the_limit_is_for_both_sides_together(rooms: RoomServer) -> None:
    room_id, sent = await filled(rooms)
    path = f"/rooms/{quote(room_id)}/context/{quote(sent[10])}"
    three = (await rooms.alice.get(path, limit=3)).ok()
    assert len(three["events_before"]) + len(three["events_after"]) == 3
    none = (await rooms.alice.get(path, limit=0)).ok()
    assert none["events_before"] == none["events_after"] == []
    assert none["event"]["event_id"] == sent[10]
    around = await rooms.alice.messages(room_id, dir="f", start=none["end"], limit=1)
    assert ids(around["chunk"]) == [sent[11]]
    whole = (await rooms.alice.get(path, limit=10**6)).ok()
    assert ids(whole["events_after"]) == sent[11:]
    (await rooms.alice.get(path, limit=-1)).refused(400, "M_INVALID_PARAM")


async def test_the_state_is_that_at_the_last_event(rooms: RoomServer) -> None:
    room_id, sent = await filled(rooms)
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "later"})).ok()
    answer = (await rooms.alice.get(f"/rooms/{quote(room_id)}/context/{quote(sent[10])}")).ok()
    assert "m.room.name" not in {event["type"] for event in answer["state"]}
    answer = (await rooms.alice.get(f"/rooms/{quote(room_id)}/context/{quote(sent[19])}")).ok()
    assert "m.room.name" in {event["type"] for event in answer["state"]}


async def test_filters(rooms: RoomServer) -> None:
    room_id, _ = await filled(rooms)
    await rooms.bob.join(room_id)
    answer_to = await rooms.bob.say(room_id, "from bob")
    path = f"/rooms/{quote(room_id)}/context/{quote(answer_to)}"
    only = (await rooms.alice.get(path, filter='{"types":["m.room.member"]}')).ok()
    assert only["event"]["event_id"] == answer_to, "the filter is not for the event itself"
    assert {event["type"] for event in only["events_before"]} == {"m.room.member"}
    assert {event["type"] for event in only["state"]} == {"m.room.member"}
    lazy = (await rooms.alice.get(path, filter='{"lazy_load_members":true}', limit=0)).ok()
    members = {event["state_key"] for event in lazy["state"] if event["type"] == "m.room.member"}
    assert members == {BOB}
    everyone = (await rooms.alice.get(path, limit=0)).ok()
    assert {ALICE, BOB} <= {event["state_key"] for event in everyone["state"]}
    for filtered in ({"not_rooms": [room_id]}, {"rooms": ["!other:example.org"]}):
        elsewhere = (await rooms.alice.get(path, filter=json.dumps(filtered))).ok()
        assert elsewhere["event"]["event_id"] == answer_to
        assert [elsewhere[key] for key in ("events_before", "events_after", "state")] == [[], [], []]
    (await rooms.alice.get(path, filter="[")).refused(400, "M_NOT_JSON")


@pytest.mark.parametrize("event_id", ["$nothing", "nonsense"])
async def test_what_there_is_not(rooms: RoomServer, event_id: str) -> None:
    room_id, sent = await filled(rooms)
    (await rooms.alice.get(f"/rooms/{quote(room_id)}/context/{event_id}")).refused(404, "M_NOT_FOUND")
    path = f"/rooms/{quote(room_id)}/context/{quote(sent[0])}"
    (await rooms.bob.get(path)).refused(403, "M_FORBIDDEN")
    (await rooms.bob.get(f"/rooms/!none:ours.test/context/{quote(sent[0])}")).refused(403, "M_FORBIDDEN")


async def test_an_event_that_is_hidden_has_no_context(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
    )
    hidden = await rooms.alice.say(room_id, "secret")
    await rooms.bob.join(room_id)
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/context/{quote(hidden)}")).refused(404, "M_NOT_FOUND")
