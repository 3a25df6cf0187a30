"""Server notices over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, membership, send_path, sync

PATH = "/_synapse/admin/v1/send_server_notice"
HELLO = {"msgtype": "m.text", "body": "Hello"}
SETTINGS = {
    "system_mxid_localpart": "notices",
    "system_mxid_display_name": "The Server",
    "system_mxid_avatar_url": "mxc://test/server",
    "room_name": "News",
    "room_topic": "of the server",
    "room_avatar_url": "mxc://test/room",
}


@pytest.fixture
def whole_settings() -> dict[str, Any]:
    return {"server_notices": SETTINGS}


async def send(root: Client, user_id: str, **more: Any) -> Answer:
    return await root.post(PATH, {"user_id": user_id, "content": HELLO, **more})


async def notice_room(client: Client, section: str) -> str:
    ((room_id, _),) = (await sync(client))["rooms"][section].items()
    return str(room_id)


async def test_a_notice(whole: WholeServer, root: Client, alice: Client) -> None:
    since = (await sync(alice))["next_batch"]
    event_id = (await send(root, alice.user_id)).ok()["event_id"]
    news = await sync(alice, since)
    ((room_id, invite),) = news["rooms"]["invite"].items()
    told = {event["type"]: event["content"] for event in invite["invite_state"]["events"]}
    assert told["m.room.name"]["name"] == "News" and told["m.room.avatar"]["url"] == "mxc://test/room"
    assert told["m.room.topic"]["topic"] == "of the server"
    tags = f"{V3}/user/{alice.user_id}/rooms/{quote(room_id)}/tags"
    assert (await alice.get(tags)).ok() == {"tags": {"m.server_notice": {}}}
    (await membership(alice, room_id, "join")).ok()
    room = (await sync(alice))["rooms"]["join"][room_id]
    assert room["timeline"]["events"][-2]["event_id"] == event_id
    assert room["timeline"]["events"][-2]["sender"] == whole.user_id("notices")
    assert {"type": "m.tag", "content": {"tags": {"m.server_notice": {}}}} in room["account_data"]["events"]
    member = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{whole.user_id('notices')}"
    shown = (await alice.get(member)).ok()
    assert (shown["displayname"], shown["avatar_url"]) == ("The Server", "mxc://test/server")
    (await alice.put(send_path(room_id), HELLO)).refused(403, "M_FORBIDDEN")
    # There is one room, however many notices there are.
    again = (await send(root, alice.user_id, type="org.example.notice", content={"a": 1})).ok()["event_id"]
    events = (await sync(alice))["rooms"]["join"][room_id]["timeline"]["events"]
    assert (events[-1]["event_id"], events[-1]["type"]) == (again, "org.example.notice")
    pinned = {"pinned": [again]}
    answer = await send(root, alice.user_id, type="m.room.pinned_events", state_key="", content=pinned)
    answer.ok()
    state = f"{V3}/rooms/{quote(room_id)}/state/m.room.pinned_events/"
    assert (await alice.get(state)).ok() == pinned


async def test_the_invite_cannot_be_rejected(root: Client, alice: Client) -> None:
    (await send(root, alice.user_id)).ok()
    room_id = await notice_room(alice, "invite")
    refused = (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
    (await membership(alice, room_id, "leave")).refused(*refused)
    state = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{alice.user_id}"
    (await alice.put(state, {"membership": "leave"})).refused(*refused)
    (await membership(alice, room_id, "join")).ok()
    (await membership(alice, room_id, "leave")).ok()
    # The next notice brings the user back to the same room.
    (await send(root, alice.user_id)).ok()
    assert await notice_room(alice, "invite") == room_id


async def test_who_is_deactivated_is_rid_of_it(whole: WholeServer, root: Client, alice: Client) -> None:
    (await send(root, alice.user_id)).ok()
    room_id = await notice_room(alice, "invite")
    identifier = {"type": "m.id.user", "user": alice.user_id}
    auth = {"type": "m.login.password", "password": "a password", "identifier": identifier}
    (await alice.post(f"{V3}/account/deactivate", {"auth": auth})).ok()
    (await send(root, alice.user_id)).refused(404, "M_NOT_FOUND")
    async with asyncio.timeout(20), whole.database() as database:
        while await database.read(lambda tx: is_invited(tx, room_id, alice.user_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def is_invited(tx: Transaction, room_id: str, user_id: str) -> bool:
    room = await rooms.get(tx, room_id)
    assert room is not None
    now = await memberships.get(tx, room.room_nid, user_id)
    return now is not None and now.membership == "invite"


async def test_transactions(root: Client, alice: Client) -> None:
    body = {"user_id": alice.user_id, "content": HELLO}
    one = (await root.put(f"{PATH}/t1", body)).ok()["event_id"]
    assert (await root.put(f"{PATH}/t1", body)).ok()["event_id"] == one
    assert (await root.put(f"{PATH}/t2", body)).ok()["event_id"] != one
    (await root.put(f"{PATH}/{'x' * 256}", body)).refused(400, "M_INVALID_PARAM")


async def test_many_at_once_make_one_room(root: Client, alice: Client) -> None:
    for answer in await asyncio.gather(*(send(root, alice.user_id) for _ in range(5))):
        answer.ok()
    assert await notice_room(alice, "invite")


async def test_what_is_refused(whole: WholeServer, root: Client, alice: Client) -> None:
    (await send(alice, alice.user_id)).refused(403, "M_FORBIDDEN")
    (await send(whole.client, alice.user_id)).refused(401, "M_MISSING_TOKEN")
    (await send(root, "@bob:far.test")).refused(400, "M_UNKNOWN")
    (await send(root, whole.user_id("nobody"))).refused(404, "M_NOT_FOUND")
    (await send(root, whole.user_id("notices"))).refused(400, "M_UNKNOWN")
    (await root.post(PATH, {"user_id": alice.user_id})).refused(400, "M_BAD_JSON")
    (await root.post(PATH, {"content": HELLO})).refused(400, "M_BAD_JSON")
    (await send(root, alice.user_id, content=[])).refused(400, "M_BAD_JSON")
    taken = {"username": "notices", "password": "a password", "auth": {"type": "m.login.dummy"}}
    (await whole.client.post(f"{V3}/register", taken)).refused(400, "M_USER_IN_USE")
    path = f"{V3}/user/{alice.user_id}/account_data/m.invite_permission_config"
    (await alice.put(path, {"default_action": "block"})).ok()
    (await send(root, alice.user_id)).refused(403, "M_INVITE_BLOCKED")


@pytest.mark.parametrize("whole_settings", [{"server_notices": {**SETTINGS, "auto_join": True}}])
async def test_auto_join(whole: WholeServer, root: Client, alice: Client) -> None:
    (await send(root, alice.user_id)).ok()
    room_id = await notice_room(alice, "join")
    (await membership(alice, room_id, "leave")).ok()
    (await send(root, alice.user_id)).ok()
    assert await notice_room(alice, "join") == room_id


ONE = {"per_second": 0.001, "burst_count": 1}
LIMITED = {"rc_invites": {"per_room": ONE, "per_user": ONE, "per_issuer": ONE}, "rc_room_creation": ONE}


@pytest.mark.parametrize("whole_settings", [{"server_notices": SETTINGS, **LIMITED}])
async def test_limits_are_for_people(whole: WholeServer, root: Client, alice: Client) -> None:
    for user in (alice, await whole.register("bob")):
        (await send(root, user.user_id)).ok()
        room_id = await notice_room(user, "invite")
        (await membership(user, room_id, "join")).ok()
        (await membership(user, room_id, "leave")).ok()
        (await send(root, user.user_id)).ok()
        assert await notice_room(user, "invite") == room_id


@pytest.mark.parametrize("whole_settings", [{}])
async def test_there_are_none_unless_configured(root: Client, alice: Client) -> None:
    (await send(root, alice.user_id)).refused(400, "M_UNKNOWN")
