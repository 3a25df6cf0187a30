"""Inviting users of this server and of others."""

from urllib.parse import quote

import pytest

from homeserver.federation.errors import FederationError
from tests.support.room_server import ALICE, BOB, CAROL, RoomServer

DAN = "@dan:theirs.test"


async def test_an_invite_is_a_member_event(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    body = {"user_id": BOB, "reason": "Welcome to the team!"}
    assert (await rooms.alice.post(f"/rooms/{quote(room_id)}/invite", body)).ok() == {}
    member = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "invite", "reason": "Welcome to the team!"}
    assert (await rooms.alice.invite(room_id, BOB)).ok() == {}, "already invited is no error"


async def test_a_user_elsewhere_is_invited_with_their_servers_signature(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="Lobby")
    assert (await rooms.alice.invite(room_id, DAN)).ok() == {}
    (sent,) = rooms.remote.invites
    assert sent["event"]["state_key"] == DAN and sent["room_version"] == "12"
    assert "m.room.name" in {event["type"] for event in sent["invite_room_state"]}
    assert (await rooms.alice.state(room_id, "m.room.member", DAN)).ok() == {"membership": "invite"}


async def test_what_the_users_server_answers_is_passed_on(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    for status, errcode, expected in (
        (403, "M_INVITE_BLOCKED", (403, "M_INVITE_BLOCKED")),
        (400, "M_INCOMPATIBLE_ROOM_VERSION", (400, "M_UNSUPPORTED_ROOM_VERSION")),
        (401, "M_UNAUTHORIZED", (502, "M_UNKNOWN")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
        (None, None, (502, "M_UNKNOWN")),
    ):
        rooms.remote.refuses = FederationError("theirs.test", "http", "no", status=status, errcode=errcode)
        (await rooms.alice.invite(room_id, DAN)).refused(*expected)
    (await rooms.alice.state(room_id, "m.room.member", DAN)).refused(404, "M_NOT_FOUND")
    # A room is made all the same when one of those invited cannot be reached.
    await rooms.alice.create(invite=[DAN, BOB])
    assert len((await rooms.bob.sync())["rooms"]["invite"]) == 1


async def test_who_may_not_be_invited(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    (await rooms.alice.invite(room_id, BOB)).refused(403, "M_FORBIDDEN")
    (await rooms.bob.invite(room_id, CAROL)).refused(403, "M_FORBIDDEN")
    (await rooms.carol.invite(room_id, CAROL)).refused(403, "M_FORBIDDEN")
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": CAROL})).ok()
    (await rooms.alice.invite(room_id, CAROL)).refused(403, "M_FORBIDDEN")
    (await rooms.alice.invite("!none:ours.test", CAROL)).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_BAD_JSON"),
        ({"user_id": 7}, 400, "M_BAD_JSON"),
        ({"user_id": "bob"}, 400, "M_INVALID_PARAM"),
        ({"user_id": "@b\0b:ours.test"}, 400, "M_INVALID_PARAM"),
        ({"user_id": BOB, "reason": ["x"]}, 400, "M_BAD_JSON"),
        (
            {"id_server": "id.test", "id_access_token": "t", "medium": "email", "address": "b@x.test"},
            403,
            "M_THREEPID_DENIED",
        ),
    ],
)
async def test_bodies_that_are_refused(rooms: RoomServer, body: object, status: int, errcode: str) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/invite", body)).refused(status, errcode)


async def test_the_invited_users_profile_comes_with_the_invite(rooms: RoomServer) -> None:
    from homeserver.storage import profiles

    await rooms.services.database.write(
        lambda tx: profiles.set_field(tx, BOB, "displayname", b'"Bob the Builder"')
    )
    room_id = await rooms.alice.create(invite=[BOB])
    member = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert member == {"membership": "invite", "displayname": "Bob the Builder"}
    assert (await rooms.alice.state(room_id, "m.room.member", ALICE)).ok() == {"membership": "join"}
