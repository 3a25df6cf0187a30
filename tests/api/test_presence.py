"""Presence over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core import presence as rules
from homeserver.core.presence import MAX_STATUS_BYTES
from tests.support.certificates import Authority
from tests.support.client import Answer, Client, no_news
from tests.support.whole import (
    V3,
    Conversation,
    WholeServer,
    conversation,
    membership,
    say,
    sync,
)


def path(user_id: str) -> str:
    return f"{V3}/presence/{quote(user_id)}/status"


async def put(client: Client, presence: Any, user_id: str | None = None, **more: Any) -> Answer:
    return await client.put(path(user_id or client.user_id), {"presence": presence, **more})


async def get(client: Client, of: Client) -> dict[str, Any]:
    """The presence of a user, without the time of the last activity, which must be of just now."""
    found: dict[str, Any] = (await client.get(path(of.user_id))).ok()
    assert 0 <= found.pop("last_active_ago", 0) < 60_000
    return found


def shown(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of the presence events of an answer of /sync, by sender."""
    found = {}
    for event in answer.get("presence", {}).get("events", []):
        assert event["type"] == "m.presence" and set(event) == {"type", "sender", "content"}
        assert 0 <= event["content"].pop("last_active_ago", 0) < 60_000
        assert event["sender"] not in found
        found[event["sender"]] = event["content"]
    return found


async def news(client: Client, since: str) -> Any:
    return await asyncio.wait_for(sync(client, since, timeout=30_000), 10)


ONLINE = {"presence": "online", "currently_active": True}


def told(*users: Client, **content: Any) -> dict[str, dict[str, Any]]:
    """The presence events of users who have the names of new accounts: of who is online, if nothing else is said."""
    return {
        user.user_id: {"displayname": user.user_id[1:].partition(":")[0], **(content or ONLINE)}
        for user in users
    }


@pytest.fixture
async def carol(whole: WholeServer) -> Client:
    """A user who is not in the room."""
    return await whole.register("carol")


async def test_what_is_set_is_told_to_those_who_share_a_room(room: Conversation, carol: Client) -> None:
    alice, bob = room.alice, room.bob
    since, elsewhere = (await sync(bob))["next_batch"], (await sync(carol))["next_batch"]
    waiting = asyncio.create_task(news(bob, since))
    assert (await put(alice, "online", status_msg="I am here")).ok() == {}
    answer = await waiting
    expected = ONLINE | {"status_msg": "I am here"}
    assert shown(answer) == told(alice, **expected) and "rooms" not in answer
    assert await get(bob, alice) == await get(alice, alice) == expected
    assert await sync(bob, answer["next_batch"]) == no_news(answer["next_batch"])
    assert shown(await sync(bob)) == told(alice, **expected)
    assert shown(await sync(carol, elsewhere)) == shown(await sync(carol)) == {}
    assert shown(await sync(alice)) == told(alice, **expected), "the user's own devices are told too"
    (await put(alice, "unavailable")).ok()
    answer = await sync(bob, answer["next_batch"])
    assert shown(answer) == told(alice, presence="unavailable"), "without a message there is none"
    (await put(alice, "offline", status_msg="gone")).ok()
    assert shown(await sync(bob, answer["next_batch"])) == told(alice, presence="offline", status_msg="gone")
    assert shown(await sync(bob)) == {}, "who is offline is no news to who starts anew"


async def test_what_changes_nothing_is_no_news(room: Conversation) -> None:
    (await put(room.alice, "unavailable", status_msg="x")).ok()
    since = (await sync(room.bob))["next_batch"]
    (await put(room.alice, "unavailable", status_msg="x")).ok()
    assert await sync(room.bob, since) == no_news(since)


async def test_set_presence_of_sync(room: Conversation) -> None:
    alice, bob = room.alice, room.bob
    since = (await sync(bob))["next_batch"]
    await sync(alice, set_presence="offline")
    assert await sync(bob, since) == no_news(since)
    assert await get(bob, alice) == {"presence": "offline"}
    first = (await alice.get(f"{V3}/sync")).ok()
    assert shown(first) == told(alice), "without the parameter one is online"
    assert await get(bob, alice) == ONLINE
    await sync(alice, set_presence="unavailable")
    assert await get(bob, alice) == {"presence": "unavailable"}
    await sync(alice, set_presence="offline")
    assert await get(bob, alice) == {"presence": "unavailable"}
    await sync(alice, set_presence="online")
    assert await get(bob, alice) == ONLINE
    (await alice.get(f"{V3}/sync?set_presence=busy")).refused(400, "M_INVALID_PARAM")
    since = (await sync(bob, since))["next_batch"]
    for _ in range(3):
        await sync(alice, set_presence="online")
    assert await sync(bob, since) == no_news(since)


async def test_activity(room: Conversation) -> None:
    await sync(room.alice, set_presence="online")
    (await put(room.alice, "unavailable")).ok()
    since = (await sync(room.bob))["next_batch"]
    await say(room.alice, room.room_id, "hello")
    while room.alice.user_id not in shown(answer := await news(room.bob, since)):
        since = answer["next_batch"]
    assert await get(room.bob, room.alice) == ONLINE


async def test_who_does_not_come_back_goes_offline(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "GONE_MS", 50)
    since = (await sync(room.bob))["next_batch"]
    await sync(room.alice, set_presence="online")
    answer = await news(room.bob, since)
    while shown(answer) == told(room.alice):
        answer = await news(room.bob, answer["next_batch"])
    assert shown(await sync(room.bob, since)) == told(room.alice, presence="offline")


async def test_who_waits_and_does_nothing_becomes_idle(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ACTIVE_MS", 40)
    monkeypatch.setattr(rules, "IDLE_MS", 80)
    since = (await sync(room.bob))["next_batch"]
    target = f"{V3}/sync?timeout=30000&filter={quote(json.dumps({'presence': {'types': []}}))}"
    first = (await room.alice.get(target)).ok()["next_batch"]
    waiting = asyncio.create_task(room.alice.get(f"{target}&since={first}"))
    while shown(answer := await news(room.bob, since)) != told(room.alice, presence="unavailable"):
        assert shown(answer)[room.alice.user_id]["presence"] == "online"
        since = answer["next_batch"]
    assert not waiting.done(), "woken, but for nothing that it wants to know"
    waiting.cancel()


async def test_who_joins_gets_to_know_the_others_and_they_the_newcomer(
    room: Conversation, carol: Client
) -> None:
    alice, bob = room.alice, room.bob
    for client in (alice, carol):
        await sync(client, set_presence="online")
    since = {client.user_id: (await sync(client))["next_batch"] for client in (bob, carol)}
    (await membership(carol, room.room_id, "join")).ok()
    assert shown(await sync(carol, since[carol.user_id]))[alice.user_id] == told(alice)[alice.user_id]
    position = since[bob.user_id]
    while carol.user_id not in (seen := shown(answer := await news(bob, position))):
        position = answer["next_batch"]
    assert seen[carol.user_id] == told(carol)[carol.user_id]
    everything = await sync(bob, position, full_state="true")
    assert shown(everything) == told(alice, carol)


async def test_ignored_users(room: Conversation) -> None:
    alice, bob, room_id = room.alice, room.bob, room.room_id
    event_id = await say(alice, room_id, "hello")
    ignored = f"{V3}/user/{quote(bob.user_id)}/account_data/m.ignored_user_list"
    (await bob.put(ignored, {"ignored_users": {alice.user_id: {}}})).ok()
    since = (await sync(bob))["next_batch"]
    await sync(alice, set_presence="online")
    for method, target, body in (
        ("POST", f"receipt/m.read/{quote(event_id)}", {}),
        ("PUT", f"typing/{quote(alice.user_id)}", {"typing": True}),
        ("PUT", f"typing/{quote(alice.user_id)}", {"typing": False}),
        ("PUT", f"typing/{quote(alice.user_id)}", {"typing": True}),
    ):
        (await alice.request(method, f"{V3}/rooms/{quote(room_id)}/{target}", body)).ok()
        answer = await sync(bob, since)
        assert answer == no_news(answer["next_batch"])
    first = await sync(bob)
    assert "presence" not in first and first["rooms"]["join"][room_id]["ephemeral"]["events"] == []


async def test_names(room: Conversation) -> None:
    await sync(room.alice, set_presence="online")
    since = (await sync(room.bob))["next_batch"]
    target = f"{V3}/profile/{quote(room.alice.user_id)}/displayname"
    (await room.alice.put(target, {"displayname": "Alice"})).ok()
    while room.alice.user_id not in (seen := shown(answer := await news(room.bob, since))):
        since = answer["next_batch"]
    assert seen == {room.alice.user_id: ONLINE | {"displayname": "Alice"}}


@pytest.mark.parametrize(
    ("presence", "seen"),
    [
        ({}, "ab"),
        ({"types": ["m.presence"]}, "ab"),
        ({"types": ["m.*"], "not_senders": []}, "ab"),
        ({"types": []}, ""),
        ({"not_types": ["m.presence"]}, ""),
        ({"senders": ["alice"]}, "a"),
        ({"not_senders": ["alice"]}, "b"),
        ({"limit": 1}, "b"),
        ({"limit": 0}, ""),
    ],
)
async def test_the_filter(room: Conversation, presence: dict[str, Any], seen: str) -> None:
    since = (await sync(room.bob))["next_batch"]
    for client in (room.alice, room.bob):
        await sync(client, set_presence="online")
    names = {"alice": room.alice.user_id}
    wanted = json.dumps(
        {
            "presence": {
                key: [names.get(each, each) for each in value] if isinstance(value, list) else value
                for key, value in presence.items()
            }
        }
    )
    for start in (since, None):
        answer = await sync(room.bob, start, filter=wanted)
        assert "".join(sorted(user_id[1] for user_id in shown(answer))) == seen
        assert ("presence" in answer) is bool(seen)


async def test_what_is_refused(room: Conversation, carol: Client) -> None:
    alice, bob = room.alice, room.bob
    (await carol.get(path(alice.user_id))).refused(403, "M_FORBIDDEN")
    (await alice.get(path("@nobody:test"))).refused(403, "M_FORBIDDEN")
    (await alice.get(path("alice"))).refused(400, "M_INVALID_PARAM")
    (await alice.with_token(None).get(path(alice.user_id))).refused(401, "M_MISSING_TOKEN")
    (await put(alice, "online", bob.user_id)).refused(403, "M_FORBIDDEN")
    (await put(alice, "online", "alice")).refused(400, "M_INVALID_PARAM")
    for presence in ("busy", None, 5):
        (await put(alice, presence)).refused(400, "M_BAD_JSON")
    (await alice.put(path(alice.user_id), {})).refused(400, "M_BAD_JSON")
    for message in (5, None, "\0"):
        (await put(alice, "online", status_msg=message)).refused(400, "M_BAD_JSON")
    (await put(alice, "online", status_msg="x" * (MAX_STATUS_BYTES + 1))).refused(413, "M_TOO_LARGE")
    (await put(alice.with_token(None, alice.user_id), "online")).refused(401, "M_MISSING_TOKEN")
    assert await get(alice, alice) == await get(bob, alice) == {"presence": "offline"}
    old = path(alice.user_id).replace("/v3/", "/r0/")
    assert (await alice.get(old)).ok() == {"presence": "offline"}
    assert (await alice.put(old, {"presence": "online"})).ok() == {}


async def test_changes_have_a_limit(tmp_path: Path) -> None:
    limit = {"per_user": {"per_second": 0.001, "burst_count": 1}}
    async with WholeServer(Authority(tmp_path), tmp_path, more={"rc_presence": limit}) as server:
        room = await conversation(server)
        (await put(room.alice, "unavailable")).ok()
        (await put(room.alice, "online")).refused(429, "M_LIMIT_EXCEEDED")
        await sync(room.alice, set_presence="online")
        assert await get(room.bob, room.alice) == {"presence": "unavailable"}
        await sync(room.bob, set_presence="online")
        assert await get(room.alice, room.bob) == ONLINE


@pytest.mark.parametrize("enabled", [False, "untracked"])
async def test_switched_off(tmp_path: Path, enabled: bool | str) -> None:
    async with WholeServer(Authority(tmp_path), tmp_path, more={"presence": {"enabled": enabled}}) as server:
        room = await conversation(server)
        since = (await sync(room.bob))["next_batch"]
        assert (await put(room.alice, "online", status_msg="here")).ok() == {}
        (await put(room.alice, "online", room.bob.user_id)).refused(403, "M_FORBIDDEN")
        await sync(room.alice, set_presence="online")
        assert await sync(room.bob, since) == no_news(since)
        assert "presence" not in await sync(room.bob)
        assert await get(room.bob, room.alice) == {"presence": "offline"}
        carol = await server.register("carol")
        answer = await carol.get(path(room.alice.user_id))
        if enabled == "untracked":
            answer.refused(403, "M_FORBIDDEN")
        else:
            assert answer.ok() == {"presence": "offline"}
        assert (await server.row_counts())["presence"] == 0


async def test_offline_users_too(tmp_path: Path) -> None:
    settings = {"include_offline_users_on_sync": True}
    async with WholeServer(Authority(tmp_path), tmp_path, more={"presence": settings}) as server:
        room = await conversation(server)
        (await put(room.alice, "online")).ok()
        (await put(room.alice, "offline")).ok()
        assert shown(await sync(room.bob)) == told(room.alice, presence="offline")


async def test_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with WholeServer(authority, tmp_path) as first:
        room = await conversation(first)
        await sync(room.alice, set_presence="online")
        since = (await sync(room.bob))["next_batch"]
    async with WholeServer(authority, tmp_path) as again:
        bob = again.client.with_token(room.bob.access_token, room.bob.user_id)
        assert await sync(bob, since) == no_news(since)
        assert shown(await sync(bob)) == told(room.alice)
