"""The list of notifications over HTTP."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, Conversation, WholeServer, create_room, membership, say, send_path

LIST = f"{V3}/notifications"


async def mention(room: Conversation) -> str:
    content = {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [room.bob.user_id]}}
    event_id: str = (await room.alice.put(send_path(room.room_id), content)).ok()["event_id"]
    return event_id


async def listed(client: Client, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(LIST + query)).ok()["notifications"]
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["event"]["event_id"] for each in found]


async def test_what_is_in_the_list(room: Conversation) -> None:
    assert (await room.bob.get(LIST)).ok() == {"notifications": []}
    said = await say(room.alice, room.room_id, "hello")
    (shown,) = await listed(room.bob)
    event = shown.pop("event")
    assert abs(shown.pop("ts") - time.time() * 1000) < 600_000
    assert shown == {
        "actions": ["notify", {"set_tweak": "sound", "value": "default"}],
        "read": False,
        "room_id": room.room_id,
    }
    assert event["event_id"] == said and "room_id" not in event
    assert event["content"] == {"msgtype": "m.text", "body": "hello"}
    assert await listed(room.alice) == []


async def test_what_is_read_is_marked(room: Conversation) -> None:
    said = [await say(room.alice, room.room_id, "x") for _ in range(3)]
    path = f"{V3}/rooms/{quote(room.room_id)}/receipt/m.read/{quote(said[1])}"
    (await room.bob.post(path, {})).ok()
    found = await listed(room.bob)
    assert ids(found) == said[::-1]
    assert [each["read"] for each in found] == [False, True, True]


async def test_pages(room: Conversation) -> None:
    said = [await say(room.alice, room.room_id, "x") for _ in range(5)]
    seen, query = [], "?limit=2"
    sizes = []
    while True:
        answer = (await room.bob.get(LIST + query)).ok()
        seen += ids(answer["notifications"])
        sizes.append(len(answer["notifications"]))
        if "next_token" not in answer:
            break
        await say(room.alice, room.room_id, "meanwhile")
        query = f"?limit=2&from={answer['next_token']}"
    assert (seen, sizes) == (said[::-1], [2, 2, 1])


async def test_highlights_alone(room: Conversation) -> None:
    await say(room.alice, room.room_id, "x")
    mentions = [await mention(room), await mention(room)]
    await say(room.alice, room.room_id, "x")
    assert ids(await listed(room.bob, "?only=highlight")) == mentions[::-1]
    assert ids(await listed(room.bob, "?only=highlight&limit=1")) == mentions[1:]
    assert len(await listed(room.bob, "?only=something")) == 4


async def test_what_is_gone_is_not_listed(room: Conversation) -> None:
    said = [await say(room.alice, room.room_id, "x") for _ in range(2)]
    (await room.alice.put(f"{V3}/rooms/{quote(room.room_id)}/redact/{quote(said[0])}/r1", {})).ok()
    assert ids(await listed(room.bob)) == said[1:]
    ignored = f"{V3}/user/{quote(room.bob.user_id)}/account_data/m.ignored_user_list"
    (await room.bob.put(ignored, {"ignored_users": {room.alice.user_id: {}}})).ok()
    assert await listed(room.bob) == []
    (await room.bob.put(ignored, {})).ok()
    (await membership(room.bob, room.room_id, "leave")).ok()
    assert await listed(room.bob) == []


async def test_an_invite_is_listed_and_read_once_it_is_accepted(room: Conversation) -> None:
    invited = await create_room(room.alice, preset="private_chat", invite=[room.bob.user_id])
    (shown,) = await listed(room.bob)
    assert (shown["room_id"], shown["read"], shown["event"]["content"]["membership"]) == (
        invited,
        False,
        "invite",
    )
    (await membership(room.bob, invited, "join")).ok()
    assert [each["read"] for each in await listed(room.bob)] == [True]


@pytest.mark.parametrize(
    "query", ["?from=x", "?from=", "?from=-1", "?from=" + "9" * 40, "?limit=0", "?limit=-1", "?limit=x"]
)
async def test_nonsense(room: Conversation, query: str) -> None:
    (await room.bob.get(LIST + query)).refused(400, "M_INVALID_PARAM")


async def test_without_a_token(whole: WholeServer) -> None:
    for path in (LIST, f"{V3}/pushers"):
        (await whole.client.get(path)).refused(401, "M_MISSING_TOKEN")
