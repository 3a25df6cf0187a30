"""Transcripts: the end of an account.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.network import until
from tests.support.whole import V3, WholeServer, create_room, history, membership, register, say

DEACTIVATE = f"{V3}/account/deactivate"
AUTH = {"type": "m.login.password", "password": "a password"}


async def member(client: Client, room_id: str, user_id: str) -> Any:
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(user_id)}"
    return (await client.get(path)).ok()


async def has_left(client: Client, room_id: str, user_id: str) -> Any:
    """The content of the member event, once it says leave."""

    async def is_left() -> bool:
        return (await member(client, room_id, user_id))["membership"] == "leave"

    await until(is_left, f"{user_id} has left {room_id}")
    return await member(client, room_id, user_id)


async def deactivate(client: Client, **body: Any) -> None:
    answer = (await client.post(DEACTIVATE, {**body, "auth": AUTH})).ok()
    assert answer == {"id_server_unbind_result": "success"}


async def test_the_end_of_an_account(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    (await alice.put(f"{V3}/profile/{alice.user_id}/displayname", {"displayname": "Alice"})).ok()
    room_id, other = await create_room(bob), await create_room(bob, preset="private_chat")
    (await membership(alice, room_id, "join")).ok()
    (await bob.post(f"{V3}/rooms/{quote(other)}/invite", {"user_id": alice.user_id})).ok()
    answer = await alice.post(DEACTIVATE)
    assert answer.status == 401 and answer.body["flows"] == [{"stages": ["m.login.password"]}]
    wrong = {**AUTH, "password": "wrong", "session": answer.body["session"]}
    (await alice.post(DEACTIVATE, {"auth": wrong})).refused(401, "M_FORBIDDEN")
    # What was to be erased or not is part of what is confirmed.
    other_session = await alice.post(DEACTIVATE, {"erase": True, "auth": {"session": answer.body["session"]}})
    assert other_session.body["session"] != answer.body["session"]
    (await alice.post(DEACTIVATE, {"auth": {**AUTH, "session": answer.body["session"]}})).ok()

    (await alice.get(f"{V3}/account/whoami")).refused(401, "M_UNKNOWN_TOKEN")
    for here in (room_id, other):
        assert await has_left(bob, here, alice.user_id) == {"membership": "leave"}
    (await bob.get(f"{V3}/profile/{alice.user_id}")).refused(404, "M_NOT_FOUND")
    login = {"type": "m.login.password", "user": "alice", "password": "a password"}
    (await whole.client.post(f"{V3}/login", login)).refused(403, "M_USER_DEACTIVATED")
    again = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
    (await whole.client.post(f"{V3}/register", again)).refused(400, "M_USER_IN_USE")
    (await whole.client.get(f"{V3}/register/available?username=alice")).refused(400, "M_USER_IN_USE")


async def test_without_a_token_the_password_says_whose(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    (await whole.client.post(DEACTIVATE, {"auth": AUTH})).refused(401, "M_MISSING_PARAM")
    named = {**AUTH, "identifier": {"type": "m.id.user", "user": alice.user_id}}
    (await whole.client.post(DEACTIVATE, {"auth": named, "id_server": "id.example.org"})).ok()
    (await alice.get(f"{V3}/account/whoami")).refused(401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize("body", [{"erase": "yes"}, {"auth": 1}, {"id_server": 1}])
async def test_what_is_no_request(whole: WholeServer, body: dict[str, Any]) -> None:
    alice = await whole.register("alice")
    (await alice.post(DEACTIVATE, {"auth": AUTH, **body})).refused(400, "M_BAD_JSON")
    (await alice.get(f"{V3}/account/whoami")).ok()


async def bodies(client: Client, room_id: str, sender: str) -> list[Any]:
    events = await history(client, room_id)
    return [
        event["content"].get("body")
        for event in reversed(events)
        if event["type"] == "m.room.message" and event["sender"] == sender
    ]


@pytest.mark.parametrize("erase", [True, False])
async def test_who_comes_later_sees_nothing_of_an_erased_user(whole: WholeServer, erase: bool) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_room(alice, name="Alice's room", power_level_content_override={"users": {}})
    (await membership(bob, room_id, "join")).ok()
    first = await say(alice, room_id, "one")
    (await membership(carol, room_id, "join")).ok()
    await say(alice, room_id, "two")
    await deactivate(alice, erase=erase)
    await has_left(bob, room_id, alice.user_id)
    dora = await register(whole.client, "dora")
    (await membership(dora, room_id, "join")).ok()
    # Bob was there, and Carol could read what was said before she came.
    for earlier in (bob, carol):
        assert await bodies(earlier, room_id, alice.user_id) == ["one", "two"]
    shown = await bodies(dora, room_id, alice.user_id)
    assert shown == ([None, None] if erase else ["one", "two"])
    event = (await dora.get(f"{V3}/rooms/{quote(room_id)}/event/{quote(first)}")).ok()
    assert event["content"] == ({} if erase else {"body": "one", "msgtype": "m.text"})
    assert "redacted_because" not in event["unsigned"]
    said_at = event["origin_server_ts"]
    path = f"/_matrix/client/v1/rooms/{quote(room_id)}/timestamp_to_event?dir=f&ts={said_at}"
    assert (await dora.get(path)).ok()["origin_server_ts"] == said_at
    # What was set for everybody stays.
    names = [each for each in await history(dora, room_id) if each["type"] == "m.room.name"]
    assert names[0]["content"] == {"name": "Alice's room"}


async def test_erasing_takes_what_the_user_kept(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    for client in (alice, bob):
        path = f"{V3}/user/{client.user_id}/account_data/org.example"
        (await client.put(path, {"x": 1})).ok()
        (await client.post(f"{V3}/user/{client.user_id}/filter", {})).ok()
        (await client.put(f"{V3}/pushrules/global/override/.m.rule.master/enabled", {"enabled": True})).ok()
    before = await whole.row_counts()
    await deactivate(bob)
    kept = await whole.row_counts()
    for table in ("account_data", "filters", "push_rules"):
        assert kept[table] == before[table]
    await deactivate(alice, erase=True)
    after = await whole.row_counts()
    for table in ("account_data", "filters", "push_rules"):
        assert after[table] < kept[table], table
    assert after["devices"] == after["access_tokens"] == after["profile_fields"] == 0
