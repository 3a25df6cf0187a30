"""Transcripts: guests.

Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say

REGISTER = f"{V3}/register?kind=guest"
FORBIDDEN = (403, "M_GUEST_ACCESS_FORBIDDEN")


@pytest.fixture
def whole_settings() -> Mapping[str, Any]:
    """Guests are let in."""
    return {"allow_guest_access": True}


async def guest_of(whole: WholeServer, **body: Any) -> Client:
    answer = (await whole.client.post(REGISTER, body)).ok()
    return whole.client.with_token(answer["access_token"], answer["user_id"], answer["device_id"])


async def set_guest_access(client: Client, room_id: str, value: str) -> None:
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.guest_access"
    (await client.put(path, {"guest_access": value})).ok()


async def open_room(client: Client) -> str:
    room_id = await create_room(client)
    await set_guest_access(client, room_id, "can_join")
    return room_id


async def test_registering(whole: WholeServer) -> None:
    wanted = {
        "initial_device_display_name": "Kiosk",
        "username": "alice",
        "device_id": "MINE",
        "password": "x",
    }
    guest = await guest_of(whole, **wanted, refresh_token=True)
    localpart = guest.user_id[1:].partition(":")[0]
    assert localpart.isdigit() and guest.device_id != "MINE"
    whoami = (await guest.get(f"{V3}/account/whoami")).ok()
    assert whoami == {"user_id": guest.user_id, "device_id": guest.device_id, "is_guest": True}
    assert (await guest.get(f"{V3}/profile/{guest.user_id}")).ok() == {"displayname": localpart}
    (device,) = (await guest.get(f"{V3}/devices")).ok()["devices"]
    assert device["display_name"] == "Kiosk"
    renamed = {"display_name": "New"}
    (await guest.put(f"{V3}/devices/{guest.device_id}", renamed)).ok()
    login = {"type": "m.login.password", "user": guest.user_id, "password": "x"}
    (await whole.client.post(f"{V3}/login", login)).refused(403, "M_FORBIDDEN")


async def test_what_a_guest_may_do_in_a_room(whole: WholeServer) -> None:
    alice, guest = await whole.register("alice"), await guest_of(whole)
    room_id = await open_room(alice)
    room = f"{V3}/rooms/{quote(room_id)}"
    (await guest.post(f"{room}/join")).ok()
    (await guest.post(f"{V3}/join/{quote(room_id)}")).ok()
    event_id = await say(guest, room_id, "hello")
    for path in (
        "state",
        f"context/{quote(event_id)}",
        f"event/{quote(event_id)}",
        "state/m.room.create/",
        "messages?dir=b",
        "members",
        "initialSync",
    ):
        (await guest.get(f"{room}/{path}")).ok()
    assert room_id in (await guest.get(f"{V3}/sync")).ok()["rooms"]["join"]
    (await guest.get(f"{V3}/events?timeout=0&room_id={quote(room_id)}")).ok()
    # State may be set where the room's rules let one.
    (await guest.put(f"{room}/state/org.example/", {})).refused(403, "M_FORBIDDEN")

    profile = f"{V3}/profile/{guest.user_id}"
    (await guest.put(f"{profile}/displayname", {"displayname": "G"})).ok()
    (await guest.delete(f"{profile}/displayname")).ok()
    (await guest.put(f"{profile}/avatar_url", {"avatar_url": "mxc://a/b"})).refused(*FORBIDDEN)
    (await guest.post(f"{room}/leave")).ok()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "createRoom"),
        ("GET", "capabilities"),
        ("GET", "joined_rooms"),
        ("GET", "pushrules/"),
        ("POST", "logout"),
        ("POST", "publicRooms"),
        ("PUT", "user/{user}/account_data/org.example"),
        ("POST", "user/{user}/filter"),
        ("POST", "user/{user}/openid/request_token"),
        ("POST", "knock/{room}"),
        ("POST", "rooms/{room}/invite"),
        ("POST", "rooms/{room}/kick"),
        ("PUT", "rooms/{room}/redact/$event/1"),
        ("DELETE", "devices/DEVICE"),
        ("POST", "delete_devices"),
        ("GET", "account/3pid"),
        ("GET", "admin/whois/{user}"),
        ("POST", "account/password"),
        ("POST", "account/deactivate"),
    ],
)
async def test_what_a_guest_may_not(whole: WholeServer, method: str, path: str) -> None:
    guest = await guest_of(whole)
    target = path.format(user=guest.user_id, room="!x:y")
    body = {"new_password": "x"} if path == "account/password" else {}
    (await guest.request(method, f"{V3}/{target}", body)).refused(*FORBIDDEN)


async def test_rooms_that_let_no_guests_in(whole: WholeServer) -> None:
    alice, guest = await whole.register("alice"), await guest_of(whole)
    closed = await create_room(alice)
    invited = await create_room(alice, preset="private_chat")
    await set_guest_access(alice, invited, "forbidden")
    (await alice.post(f"{V3}/rooms/{quote(invited)}/invite", {"user_id": guest.user_id})).ok()
    for room_id in (closed, invited):
        (await membership(guest, room_id, "join")).refused(*FORBIDDEN)
        (await guest.post(f"{V3}/join/{quote(room_id)}")).refused(*FORBIDDEN)
    path = f"{V3}/rooms/{quote(closed)}/state/m.room.member/{quote(guest.user_id)}"
    (await guest.put(path, {"membership": "join"})).refused(*FORBIDDEN)
    # A user may.
    (await membership(await whole.register("bob"), closed, "join")).ok()


async def test_guests_leave_when_the_room_closes(whole: WholeServer) -> None:
    alice, bob, guest = await whole.register("alice"), await whole.register("bob"), await guest_of(whole)
    room_id, other = await open_room(alice), await open_room(alice)
    for here in (room_id, other):
        for client in (bob, guest):
            (await membership(client, here, "join")).ok()
    since = (await guest.get(f"{V3}/sync")).ok()["next_batch"]
    await set_guest_access(alice, room_id, "forbidden")
    async with asyncio.timeout(20):
        while room_id not in (left := await newly_left(guest, since)):
            pass
    event = left[room_id]["timeline"]["events"][-1]
    assert event["sender"] == event["state_key"] == guest.user_id
    assert event["content"]["membership"] == "leave" and event["content"]["reason"]
    members = (await alice.get(f"{V3}/rooms/{quote(room_id)}/joined_members")).ok()["joined"]
    assert members.keys() == {alice.user_id, bob.user_id}
    await say(guest, other, "still here")


async def newly_left(client: Client, since: str) -> Any:
    return (await client.get(f"{V3}/sync?since={since}&timeout=5000")).ok().get("rooms", {}).get("leave", {})


async def test_a_guest_becomes_a_user(whole: WholeServer) -> None:
    alice, guest = await whole.register("alice"), await guest_of(whole)
    room_id = await open_room(alice)
    (await membership(guest, room_id, "join")).ok()
    localpart = guest.user_id[1:].partition(":")[0]
    register = f"{V3}/register"
    body = {"username": localpart, "password": "x", "guest_access_token": guest.access_token}
    assert (await whole.client.post(register, body)).status == 401
    auth = {"auth": {"type": "m.login.dummy"}}
    for wrong, status, errcode in (
        ({"username": None}, 400, "M_INVALID_PARAM"),
        ({"username": "other"}, 400, "M_INVALID_PARAM"),
        ({"guest_access_token": "x"}, 401, "M_UNKNOWN_TOKEN"),
        ({"guest_access_token": alice.access_token}, 403, "M_FORBIDDEN"),
    ):
        (await whole.client.post(register, {**body, **auth, **wrong})).refused(status, errcode)
    answer = (await whole.client.post(register, {**body, **auth})).ok()
    assert answer["user_id"] == guest.user_id
    user = whole.client.with_token(answer["access_token"], answer["user_id"])
    for client in (user, guest):
        assert (await client.get(f"{V3}/account/whoami")).ok()["is_guest"] is False
    await set_guest_access(alice, room_id, "forbidden")
    await say(user, room_id, "I stay")
    login = {"type": "m.login.password", "user": localpart, "password": "x"}
    (await whole.client.post(f"{V3}/login", login)).ok()
    (await whole.client.post(register, {**body, **auth})).refused(403, "M_FORBIDDEN")
