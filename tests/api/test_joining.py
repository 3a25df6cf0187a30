"""Joining rooms by ID and by alias, here and through other servers."""

from typing import Any
from urllib.parse import quote

import pytest
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from homeserver.core.signing import sign_json
from tests.support.client import Answer
from tests.support.room_server import ALICE, BOB, CAROL, RoomServer

ELSEWHERE = "!far:theirs.test"


async def test_a_public_room_is_joined_by_its_id(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    answer = await rooms.bob.post(f"/rooms/{quote(room_id)}/join", {"reason": "Looking for support"})
    assert answer.ok() == {"room_id": room_id}
    member = (await rooms.bob.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "join", "reason": "Looking for support"}


async def test_joining_twice_changes_nothing(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    before = (await rooms.bob.sync())["next_batch"]
    await rooms.bob.join(room_id)
    assert (await rooms.bob.sync())["next_batch"] == before


async def test_the_body_may_be_empty(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    answer = await rooms.bob.http.request("POST", f"/_matrix/client/r0/join/{quote(room_id)}")
    assert answer.ok() == {"room_id": room_id}


async def test_a_room_is_joined_by_alias(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", room_alias_name="lobby")
    assert (await rooms.bob.post("/join/%23lobby:ours.test")).ok() == {"room_id": room_id}
    (await rooms.bob.post("/join/%23nothing:ours.test")).refused(404, "M_NOT_FOUND")


async def test_a_room_elsewhere_is_joined_through_the_servers_named(rooms: RoomServer) -> None:
    path = f"/join/{quote(ELSEWHERE)}"
    answer = await rooms.alice.post(path, {"reason": "curious"}, via=["a.test", "b.test"])
    assert answer.ok() == {"room_id": ELSEWHERE}
    await rooms.alice.post(path, server_name=["c.test", "ours.test"])
    await rooms.alice.post(path, via=["d.test"], server_name=["e.test"])
    joins = [(room_id, list(via), dict(content)) for _, room_id, via, content in rooms.remote.joins]
    assert joins == [
        (ELSEWHERE, ["a.test", "b.test"], {"membership": "join", "reason": "curious"}),
        (ELSEWHERE, ["c.test"], {"membership": "join"}),
        (ELSEWHERE, ["d.test"], {"membership": "join"}),
    ]


async def test_an_alias_elsewhere_brings_its_servers(rooms: RoomServer) -> None:
    rooms.remote.aliases["#far:theirs.test"] = (ELSEWHERE, ["theirs.test", "others.test"])
    answer = await rooms.alice.post("/join/%23far:theirs.test", via=["first.test"])
    assert answer.ok() == {"room_id": ELSEWHERE}
    assert list(rooms.remote.joins[0][2]) == ["first.test", "theirs.test", "others.test"]


async def test_a_room_that_nobody_knows_is_not_found(rooms: RoomServer) -> None:
    (await rooms.alice.post(f"/rooms/{quote(ELSEWHERE)}/join")).refused(404, "M_NOT_FOUND")


async def test_an_invite_only_room_is_closed(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="private_chat")
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")
    (await rooms.alice.invite(room_id, BOB)).ok()
    await rooms.bob.join(room_id)


async def test_a_banned_user_stays_outside(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": BOB})).ok()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")


async def test_a_restricted_room_lets_in_members_of_another(rooms: RoomServer) -> None:
    space = await rooms.alice.create(preset="public_chat")
    allow = [{"type": "m.room_membership", "room_id": space}]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = await rooms.alice.create(initial_state=[rule])
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")
    await rooms.bob.join(space)
    await rooms.bob.join(room_id)


async def test_what_is_no_room_is_refused(rooms: RoomServer) -> None:
    (await rooms.bob.post("/rooms/lobby/join")).refused(400, "M_INVALID_PARAM")
    (await rooms.bob.post("/rooms/%23lobby:ours.test/join")).refused(400, "M_INVALID_PARAM")
    (await rooms.bob.post("/join/lobby")).refused(400, "M_INVALID_PARAM")
    (await rooms.bob.post("/join/%40bob:ours.test")).refused(400, "M_INVALID_PARAM")


@pytest.mark.parametrize("path", ["/rooms/{}/join", "/join/{}"])
async def test_a_third_party_invite_is_taken_up(rooms: RoomServer, path: str) -> None:
    room_id = await rooms.alice.create(preset="private_chat")
    key = generate_signing_key("0")
    public_key = encode_base64(key.verify_key.encode())
    offer = {"display_name": "b...", "key_validity_url": "https://id.test/", "public_key": public_key}
    (await rooms.alice.set_state(room_id, "m.room.third_party_invite", offer, "t")).ok()
    claim = {"sender": ALICE, "mxid": BOB, "token": "t"}

    async def join(signed: Any) -> Answer:
        return await rooms.bob.post(path.format(quote(room_id)), {"third_party_signed": signed})

    (await join(sign_json(claim, "id.test", generate_signing_key("1")))).refused(403, "M_FORBIDDEN")
    (await join(sign_json(claim | {"mxid": CAROL}, "id.test", key))).refused(400, "M_INVALID_PARAM")
    other = sign_json(claim | {"token": "other"}, "id.test", key)
    (await join(other)).refused(403, "M_THREEPID_NOT_FOUND")
    assert (await join(sign_json(claim, "id.test", key))).ok() == {"room_id": room_id}
    before = (await rooms.bob.get(f"/rooms/{quote(room_id)}/messages", dir="b")).ok()["chunk"]
    invite = next(event for event in before if event["content"].get("membership") == "invite")
    assert invite["content"]["third_party_invite"]["display_name"] == "b..."


async def test_the_reason_is_text(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join", {"reason": 5})).refused(400, "M_BAD_JSON")
