"""Finding events by their time."""

from urllib.parse import quote, urlencode

import pytest

from tests.support.client import Answer
from tests.support.room_server import RoomClient, RoomServer


async def ask(client: RoomClient, room_id: str, **query: object) -> Answer:
    return await client.http.get(
        f"/_matrix/client/v1/rooms/{quote(room_id)}/timestamp_to_event?{urlencode(query)}"
    )


async def said(rooms: RoomServer, **creation: object) -> tuple[str, list[tuple[str, int]]]:
    """A room with five messages ten seconds apart, each with its time."""
    clock = rooms.services.clock
    room_id = await rooms.alice.create(preset="public_chat", **creation)
    sent = []
    for number in range(5):
        clock.now += 10_000
        sent.append((await rooms.alice.say(room_id, str(number)), clock.now))
    return room_id, sent


async def test_the_closest_event_in_each_direction(rooms: RoomServer) -> None:
    room_id, sent = await said(rooms)
    (second, at), (third, later) = sent[1:3]
    forwards, backwards = (
        {"event_id": third, "origin_server_ts": later},
        {
            "event_id": second,
            "origin_server_ts": at,
        },
    )
    assert (await ask(rooms.alice, room_id, ts=at + 1, dir="f")).ok() == forwards
    assert (await ask(rooms.alice, room_id, ts=later - 1, dir="b")).ok() == backwards
    # The very time counts, in both directions.
    assert (await ask(rooms.alice, room_id, ts=at, dir="f")).ok() == backwards
    assert (await ask(rooms.alice, room_id, ts=at, dir="b")).ok() == backwards
    # From far away.
    assert (await ask(rooms.alice, room_id, ts=10**30, dir="b")).ok()["event_id"] == sent[-1][0]
    first = (await ask(rooms.alice, room_id, ts=-(10**30), dir="f")).ok()["event_id"]
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(first)}")).ok()
    assert event["type"] == "m.room.create"


async def test_where_there_is_none(rooms: RoomServer) -> None:
    room_id, sent = await said(rooms)
    late, early = sent[-1][1] + 1, 0
    body = (await ask(rooms.alice, room_id, ts=late, dir="f")).refused(404, "M_NOT_FOUND")
    assert body["error"] == f"Unable to find event from {late} in forward direction"
    body = (await ask(rooms.alice, room_id, ts=early, dir="b")).refused(404, "M_NOT_FOUND")
    assert body["error"] == f"Unable to find event from {early} in backward direction"


async def test_only_what_the_user_may_see(rooms: RoomServer) -> None:
    hidden = {
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": {"history_visibility": "joined"},
    }
    room_id, sent = await said(rooms, initial_state=[hidden])
    for number in range(60):
        await rooms.alice.say(room_id, f"more {number}")
    rooms.services.clock.now += 10_000
    await rooms.bob.join(room_id)
    joined = (await ask(rooms.bob, room_id, ts=sent[0][1], dir="f")).ok()
    assert joined["origin_server_ts"] == rooms.services.clock.now
    # Backwards there is only what came before the history was hidden.
    before = (await ask(rooms.bob, room_id, ts=joined["origin_server_ts"] - 1, dir="b")).ok()
    assert before["origin_server_ts"] < sent[0][1]
    assert (await ask(rooms.alice, room_id, ts=sent[0][1], dir="f")).ok()["event_id"] == sent[0][0]


async def test_who_has_left_and_who_never_was(rooms: RoomServer) -> None:
    room_id, sent = await said(rooms)
    (await ask(rooms.carol, room_id, ts=0, dir="f")).refused(403, "M_FORBIDDEN")
    (await ask(rooms.alice, "!nowhere:ours.test", ts=0, dir="f")).refused(403, "M_FORBIDDEN")
    await rooms.bob.join(room_id)
    await rooms.bob.leave(room_id)
    rooms.services.clock.now += 10_000
    await rooms.alice.say(room_id, "without bob")
    late = rooms.services.clock.now
    (await ask(rooms.bob, room_id, ts=late, dir="f")).refused(404, "M_NOT_FOUND")
    assert (await ask(rooms.bob, room_id, ts=sent[0][1], dir="f")).ok()["event_id"] == sent[0][0]


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"dir": "f"}, "M_MISSING_PARAM"),
        ({"ts": 1}, "M_MISSING_PARAM"),
        ({"ts": "soon", "dir": "f"}, "M_INVALID_PARAM"),
        ({"ts": 1, "dir": "sideways"}, "M_INVALID_PARAM"),
    ],
)
async def test_questions_that_cannot_be(rooms: RoomServer, query: dict[str, object], errcode: str) -> None:
    room_id = await rooms.alice.create()
    (await ask(rooms.alice, room_id, **query)).refused(400, errcode)


async def test_it_takes_an_account(rooms: RoomServer) -> None:
    path = "/_matrix/client/v1/rooms/!any:ours.test/timestamp_to_event?ts=1&dir=f"
    (await rooms.client.get(path)).refused(401, "M_MISSING_TOKEN")
