"""Reading events, state and members."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, BOB, CAROL, RoomServer

WORLD = [{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]


async def test_an_event_is_read_by_members_alone(rooms: RoomServer) -> None:
    room_id, other = await rooms.alice.create(preset="public_chat"), await rooms.alice.create()
    event_id = await rooms.alice.say(room_id, "hello")
    path = f"/rooms/{quote(room_id)}/event/{quote(event_id)}"
    event = (await rooms.alice.get(path)).ok()
    assert (event["event_id"], event["room_id"]) == (event_id, room_id)
    assert event["unsigned"]["membership"] == "join"
    (await rooms.bob.get(path)).refused(404, "M_NOT_FOUND")
    await rooms.bob.join(room_id)
    assert (await rooms.bob.get(path)).ok()["unsigned"]["membership"] == "leave"
    (await rooms.alice.get(f"/rooms/{quote(other)}/event/{quote(event_id)}")).refused(404, "M_NOT_FOUND")
    for wrong in ("$nothing", "nonsense", "$" + "x" * 300):
        (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{wrong}")).refused(404, "M_NOT_FOUND")
    (await rooms.alice.get(f"/rooms/nonsense/event/{quote(event_id)}")).refused(404, "M_NOT_FOUND")


async def test_state_by_type_and_key(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="Lobby")
    path = f"/rooms/{quote(room_id)}/state/m.room.name"
    assert (await rooms.alice.get(path)).ok() == {"name": "Lobby"}
    assert (await rooms.alice.get(path, format="content")).ok() == {"name": "Lobby"}
    event = (await rooms.alice.get(path, format="event")).ok()
    assert event["content"] == {"name": "Lobby"} and event["sender"] == ALICE
    assert event["state_key"] == "" and event["room_id"] == room_id and event["origin_server_ts"]
    (await rooms.alice.get(path, format="xml")).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.state(room_id, "m.room.topic")).refused(404, "M_NOT_FOUND")
    (await rooms.alice.state(room_id, "m.room.name", "key")).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("tail", ["/state", "/state/m.room.name", "/members", "/joined_members", "/aliases"])
async def test_strangers_read_nothing(rooms: RoomServer, tail: str) -> None:
    room_id = await rooms.alice.create(name="Lobby", invite=[CAROL])
    (await rooms.bob.get(f"/rooms/{quote(room_id)}{tail}")).refused(403, "M_FORBIDDEN")
    (await rooms.carol.get(f"/rooms/{quote(room_id)}{tail}")).refused(403, "M_FORBIDDEN")
    (await rooms.bob.get(f"/rooms/!none:ours.test{tail}")).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "tail", ["/state", "/state/m.room.create", "/members", "/aliases", "/messages?dir=b"]
)
async def test_what_all_the_world_may_read(rooms: RoomServer, tail: str) -> None:
    room_id = await rooms.alice.create(initial_state=WORLD)
    (await rooms.bob.http.get(f"/_matrix/client/v3/rooms/{quote(room_id)}{tail}")).ok()
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/joined_members")).refused(403, "M_FORBIDDEN")


async def test_all_state_now_and_as_it_was(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="one")
    await rooms.bob.join(room_id)
    path = f"/rooms/{quote(room_id)}/state"
    events = (await rooms.bob.get(path)).ok()
    assert {event["type"] for event in events} >= {"m.room.create", "m.room.member", "m.room.name"}
    assert all(event["room_id"] == room_id and event["event_id"] for event in events)
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/kick", {"user_id": BOB})).ok()
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "two"})).ok()
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": BOB})).ok()
    left = {(event["type"], event["state_key"]): event for event in (await rooms.bob.get(path)).ok()}
    assert left["m.room.name", ""]["content"] == {"name": "one"}
    assert left["m.room.member", BOB]["content"] == {"membership": "leave"}


def _names(chunk: Any) -> dict[str, str]:
    return {event["state_key"]: event["content"]["membership"] for event in chunk}


async def test_members_by_membership(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", invite=[CAROL])
    await rooms.bob.join(room_id)
    await rooms.bob.leave(room_id)
    path = f"/rooms/{quote(room_id)}/members"
    everyone = {ALICE: "join", BOB: "leave", CAROL: "invite"}

    async def asked(**query: str) -> dict[str, str]:
        return _names((await rooms.alice.get(path, **query)).ok()["chunk"])

    assert await asked() == everyone
    assert await asked(membership="join") == {ALICE: "join"}
    assert await asked(not_membership="leave") == {ALICE: "join", CAROL: "invite"}
    # "either the membership *is* the same as `membership` **or** *is not* the same as `not_membership`"
    assert await asked(membership="leave", not_membership="leave") == everyone
    assert await asked(membership="invite", not_membership="join") == {BOB: "leave", CAROL: "invite"}
    (await rooms.alice.get(path, membership="friend")).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.get(path, not_membership="")).refused(400, "M_INVALID_PARAM")


async def test_members_at_a_token(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    token = (await rooms.alice.sync())["next_batch"]
    await rooms.bob.join(room_id)
    place = (await rooms.alice.messages(room_id, dir="b", limit=1))["end"]
    path = f"/rooms/{quote(room_id)}/members"
    for at in (token, place):
        assert _names((await rooms.alice.get(path, at=at)).ok()["chunk"]) == {ALICE: "join"}
    later = (await rooms.alice.sync())["next_batch"]
    assert set(_names((await rooms.alice.get(path, at=later)).ok()["chunk"])) == {ALICE, BOB}
    (await rooms.alice.get(path, at="nonsense")).refused(400, "M_INVALID_PARAM")
    create = (await rooms.alice.messages(room_id, dir="f", limit=1))["chunk"][0]["event_id"]
    beginning = (await rooms.alice.get(f"/rooms/{quote(room_id)}/context/{quote(create)}")).ok()["start"]
    assert (await rooms.alice.get(path, at=beginning)).ok()["chunk"] == [], "nobody was there before the room"
    await rooms.bob.leave(room_id)
    await rooms.carol.join(room_id)
    newest = (await rooms.alice.sync())["next_batch"]
    for query in ({}, {"at": newest}):
        left = _names((await rooms.bob.get(path, **query)).ok()["chunk"])
        assert left == {ALICE: "join", BOB: "leave"}


async def test_joined_members_and_their_profiles(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", invite=[CAROL])
    await rooms.bob.join(room_id)
    nick = {"membership": "join", "displayname": "Bobby", "avatar_url": "mxc://ours.test/bob"}
    (await rooms.bob.set_state(room_id, "m.room.member", nick, BOB)).ok()
    odd = {"membership": "join", "displayname": 7, "avatar_url": None}
    (await rooms.alice.set_state(room_id, "m.room.member", odd, ALICE)).ok()
    path = f"/rooms/{quote(room_id)}/joined_members"
    assert (await rooms.alice.get(path)).ok() == {
        "joined": {ALICE: {}, BOB: {"display_name": "Bobby", "avatar_url": "mxc://ours.test/bob"}}
    }
    await rooms.bob.leave(room_id)
    (await rooms.bob.get(path)).refused(403, "M_FORBIDDEN")
