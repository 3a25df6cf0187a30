"""Removing users from rooms."""

from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, BOB, CAROL, RoomServer


async def test_a_member_is_removed_and_may_come_back(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    body = {"user_id": BOB, "reason": "Telling unfunny jokes"}
    assert (await rooms.alice.post(f"/rooms/{quote(room_id)}/kick", body)).ok() == {}
    member = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "leave", "reason": "Telling unfunny jokes"}
    await rooms.bob.join(room_id)


async def test_an_invite_is_taken_back(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(invite=[BOB])
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/kick", {"user_id": BOB})).ok()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")


async def test_who_may_not_remove_whom(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    path = f"/rooms/{quote(room_id)}/kick"
    (await rooms.alice.post(path, {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    await rooms.bob.join(room_id)
    (await rooms.bob.post(path, {"user_id": ALICE})).refused(403, "M_FORBIDDEN")
    (await rooms.carol.post(path, {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post("/rooms/!none:ours.test/kick", {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post(path, {"user_id": CAROL})).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_BAD_JSON"),
        ({"user_id": None}, "M_BAD_JSON"),
        ({"user_id": "@b\0b:ours.test"}, "M_INVALID_PARAM"),
        ({"user_id": "nobody"}, "M_INVALID_PARAM"),
        ({"user_id": BOB, "reason": {}}, "M_BAD_JSON"),
    ],
)
async def test_bodies_that_are_refused(rooms: RoomServer, body: object, errcode: str) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/kick", body)).refused(400, errcode)
