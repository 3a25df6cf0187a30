"""Banning users, and lifting bans."""

from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, BOB, CAROL, RoomServer


async def test_a_banned_user_is_out_until_the_ban_is_lifted(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    ban, unban = f"/rooms/{quote(room_id)}/ban", f"/rooms/{quote(room_id)}/unban"
    assert (await rooms.alice.post(ban, {"user_id": BOB, "reason": "Spam"})).ok() == {}
    member = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "ban", "reason": "Spam"}
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")
    (await rooms.alice.invite(room_id, BOB)).refused(403, "M_FORBIDDEN")
    assert (await rooms.alice.post(unban, {"user_id": BOB, "reason": "Long enough"})).ok() == {}
    member = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "leave", "reason": "Long enough"}
    await rooms.bob.join(room_id)


async def test_who_was_never_there_can_be_banned(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": "@dan:theirs.test"})).ok()


async def test_who_may_not_ban(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    ban, unban = f"/rooms/{quote(room_id)}/ban", f"/rooms/{quote(room_id)}/unban"
    (await rooms.bob.post(ban, {"user_id": CAROL})).refused(403, "M_FORBIDDEN")
    (await rooms.bob.post(ban, {"user_id": ALICE})).refused(403, "M_FORBIDDEN")
    (await rooms.carol.post(ban, {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post("/rooms/!none:ours.test/ban", {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post(ban, {"user_id": CAROL})).ok()
    (await rooms.bob.post(unban, {"user_id": CAROL})).refused(403, "M_FORBIDDEN")


async def test_only_a_ban_can_be_lifted(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    unban = f"/rooms/{quote(room_id)}/unban"
    (await rooms.alice.post(unban, {"user_id": BOB})).refused(403, "M_BAD_STATE")
    (await rooms.carol.post(unban, {"user_id": BOB})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post("/rooms/!none:ours.test/unban", {"user_id": BOB})).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize("operation", ["ban", "unban"])
@pytest.mark.parametrize(
    ("body", "errcode"),
    [({}, "M_BAD_JSON"), ({"user_id": []}, "M_BAD_JSON"), ({"user_id": "@\0:x"}, "M_INVALID_PARAM")],
)
async def test_bodies_that_are_refused(rooms: RoomServer, operation: str, body: object, errcode: str) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/{operation}", body)).refused(400, errcode)
