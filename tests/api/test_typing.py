"""Typing notifications over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.certificates import Authority
from tests.support.client import Answer, Client, no_news
from tests.support.whole import V3, Conversation, WholeServer, create_room, membership, say, sync


async def types(
    client: Client, room_id: str, typing: Any = True, user_id: str | None = None, **more: Any
) -> Answer:
    target = f"{V3}/rooms/{quote(room_id)}/typing/{quote(user_id or client.user_id)}"
    return await client.put(target, {"typing": typing, **more})


def typing(answer: Mapping[str, Any], room_id: str) -> list[list[str]]:
    """The user IDs of each m.typing event of an answer of /sync."""
    events = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("ephemeral", {}).get("events", [])
    assert all(set(event) == {"type", "content"} for event in events)
    return [event["content"]["user_ids"] for event in events if event["type"] == "m.typing"]


async def news(client: Client, since: str) -> Any:
    return await asyncio.wait_for(sync(client, since, timeout=30_000), 10)


async def test_a_life_of_typing(room: Conversation) -> None:
    bob, room_id = room.bob.user_id, room.room_id
    since = (await sync(room.alice))["next_batch"]
    waiting = asyncio.create_task(news(room.alice, since))
    assert (await types(room.bob, room_id, timeout=30_000)).ok() == {}
    began = await waiting
    assert typing(began, room_id) == [[bob]]
    assert typing(await sync(room.bob, since), room_id) == [[bob]]
    assert typing(await sync(room.alice), room_id) == [[bob]]
    assert await sync(room.alice, began["next_batch"]) == no_news(began["next_batch"])
    (await types(room.bob, room_id)).ok()
    assert await sync(room.alice, began["next_batch"]) == no_news(began["next_batch"])
    (await types(room.alice, room_id)).ok()
    both = await news(room.alice, began["next_batch"])
    assert typing(both, room_id) == [[bob, room.alice.user_id]]
    for client in (room.bob, room.alice):
        (await types(client, room_id, False)).ok()
    ended = await news(room.alice, both["next_batch"])
    assert typing(ended, room_id) == [[]]
    assert ended["next_batch"] == since, "nothing has happened that is kept"
    assert "rooms" not in await sync(room.alice, since)


async def test_time_runs_out(room: Conversation) -> None:
    since = (await sync(room.alice))["next_batch"]
    (await types(room.bob, room.room_id, timeout=50)).ok()
    began = await news(room.alice, since)
    while typing(began, room.room_id) == [[room.bob.user_id]]:
        began = await news(room.alice, began["next_batch"])
    assert typing(began, room.room_id) == [[]]


async def test_no_time_is_no_typing(room: Conversation) -> None:
    since = (await sync(room.alice))["next_batch"]
    (await types(room.bob, room.room_id, timeout=0)).ok()
    assert await sync(room.alice, since) == no_news(since)


async def test_a_message_and_typing_come_together(room: Conversation) -> None:
    since = (await sync(room.alice))["next_batch"]
    (await types(room.bob, room.room_id)).ok()
    event_id = await say(room.bob, room.room_id, "hello")
    answer = await sync(room.alice, since)
    assert typing(answer, room.room_id) == [[room.bob.user_id]]
    assert [event["event_id"] for event in answer["rooms"]["join"][room.room_id]["timeline"]["events"]] == [
        event_id
    ]
    pages = f"{V3}/rooms/{quote(room.room_id)}/messages?dir=b&from={answer['next_batch']}"
    assert (await room.alice.get(pages)).ok()["chunk"][0]["event_id"] == event_id
    members = f"{V3}/rooms/{quote(room.room_id)}/members?at={answer['next_batch']}"
    assert len((await room.alice.get(members)).ok()["chunk"]) == 2


async def test_who_joins_is_told(room: Conversation, whole: WholeServer) -> None:
    carol = await whole.register("carol")
    other = await create_room(room.bob)
    (await membership(carol, other, "join")).ok()
    (await types(room.bob, other)).ok()
    (await types(room.bob, room.room_id)).ok()
    first = await sync(carol)
    assert typing(first, other) == [[room.bob.user_id]] and typing(first, room.room_id) == []
    (await membership(carol, room.room_id, "join")).ok()
    answer = await sync(carol, first["next_batch"])
    assert typing(answer, room.room_id) == [[room.bob.user_id]] and typing(answer, other) == []


async def test_who_leaves_types_no_more(room: Conversation, whole: WholeServer) -> None:
    since = (await sync(room.alice))["next_batch"]
    (await types(room.bob, room.room_id)).ok()
    answer = await news(room.alice, since)
    assert typing(answer, room.room_id) == [[room.bob.user_id]]
    (await membership(room.bob, room.room_id, "leave")).ok()
    seen: list[list[str]] = []
    while not seen:
        answer = await news(room.alice, answer["next_batch"])
        seen = typing(answer, room.room_id)
    assert seen == [[]]


async def test_a_changed_name_does_not_end_it(room: Conversation) -> None:
    (await types(room.bob, room.room_id)).ok()
    name = f"{V3}/profile/{quote(room.bob.user_id)}/displayname"
    (await room.bob.put(name, {"displayname": "Bob"})).ok()
    assert typing(await sync(room.alice), room.room_id) == [[room.bob.user_id]]


async def test_what_is_refused(room: Conversation, whole: WholeServer) -> None:
    carol = await whole.register("carol")
    (await types(carol, room.room_id)).refused(403, "M_FORBIDDEN")
    (await types(room.bob, room.room_id, user_id=room.alice.user_id)).refused(403, "M_FORBIDDEN")
    (await types(room.bob, "!none:test")).refused(403, "M_FORBIDDEN")
    (await types(room.bob.with_token(None, room.bob.user_id), room.room_id)).refused(401, "M_MISSING_TOKEN")
    for body in ({"typing": "yes"}, {"typing": None}, {"timeout": "1"}, {"timeout": -1}, {"timeout": 1.5}):
        (await types(room.bob, room.room_id, **{"typing": True, **body})).refused(400, "M_BAD_JSON")
    target = f"{V3}/rooms/{quote(room.room_id)}/typing/{quote(room.bob.user_id)}"
    (await room.bob.put(target, {})).refused(400, "M_BAD_JSON")
    (await membership(room.bob, room.room_id, "leave")).ok()
    (await types(room.bob, room.room_id)).refused(403, "M_FORBIDDEN")
    assert typing(await sync(room.alice), room.room_id) == []
    assert (await room.alice.put(target.replace("/v3/", "/r0/"), {"typing": True})).refused(
        403, "M_FORBIDDEN"
    )


@pytest.mark.parametrize(
    ("ephemeral", "shown"),
    [
        ({"types": ["m.typing"]}, True),
        ({"types": ["m.receipt"]}, False),
        ({"not_types": ["m.typing"]}, False),
        ({"limit": 1}, True),
        ({"limit": 0}, False),
        ({"rooms": []}, False),
    ],
)
async def test_the_filter(room: Conversation, ephemeral: dict[str, Any], shown: bool) -> None:
    since = (await sync(room.alice))["next_batch"]
    (await types(room.bob, room.room_id)).ok()
    wanted = json.dumps({"room": {"ephemeral": ephemeral}})
    answer = await sync(room.alice, since, filter=wanted)
    assert (
        bool(typing(answer, room.room_id)) is ("rooms" in answer) is (answer["next_batch"] != since) is shown
    )


async def test_typing_and_receipts_with_a_limit(room: Conversation) -> None:
    event_id = await say(room.alice, room.room_id, "hello")
    since = (await sync(room.alice))["next_batch"]
    receipt = f"{V3}/rooms/{quote(room.room_id)}/receipt/m.read/{quote(event_id)}"
    (await room.bob.post(receipt, {})).ok()
    (await types(room.bob, room.room_id)).ok()
    for limit, kinds in (
        (None, ["m.receipt", "m.typing"]),
        (2, ["m.receipt", "m.typing"]),
        (1, ["m.typing"]),
    ):
        wanted = json.dumps({"room": {"ephemeral": {} if limit is None else {"limit": limit}}})
        events = (await sync(room.alice, since, filter=wanted))["rooms"]["join"][room.room_id]["ephemeral"][
            "events"
        ]
        assert [event["type"] for event in events] == kinds


async def test_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with WholeServer(authority, tmp_path) as first:
        alice = await first.register("alice")
        one, two = await create_room(alice), await create_room(alice)
        quiet = (await sync(alice))["next_batch"]
        (await types(alice, one)).ok()
        told = (await sync(alice, quiet))["next_batch"]
    async with WholeServer(authority, tmp_path) as again:
        client = again.client.with_token(alice.access_token, alice.user_id, alice.device_id)
        assert await sync(client, quiet) == no_news(quiet)
        answer = await sync(client, told)
        assert typing(answer, one) == typing(answer, two) == [[]]
        assert await sync(client, answer["next_batch"]) == no_news(quiet)
