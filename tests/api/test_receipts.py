"""Receipts over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer, Client, no_news
from tests.support.whole import V3, Conversation, WholeServer, create_room, membership, say, send_path, sync


def path(room_id: str, event_id: str, kind: str = "m.read") -> str:
    return f"{V3}/rooms/{quote(room_id)}/receipt/{kind}/{quote(event_id)}"


async def read(client: Client, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> Answer:
    return await client.post(path(room_id, event_id, kind), body)


async def reply(client: Client, room_id: str, rel_type: str, parent: str, **more: Any) -> str:
    content = {
        "body": "x",
        "msgtype": "m.text",
        "m.relates_to": {"rel_type": rel_type, "event_id": parent, **more},
    }
    event_id: str = (await client.put(send_path(room_id), content)).ok()["event_id"]
    return event_id


def receipts(answer: Mapping[str, Any], room_id: str) -> list[tuple[str, str, str, str | None]]:
    """(event ID, type, user ID, thread ID) of each receipt of an answer of /sync."""
    events = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("ephemeral", {}).get("events", [])
    found = []
    for event in events:
        assert event["type"] == "m.receipt" and set(event) == {"type", "content"}
        for event_id, kinds in event["content"].items():
            for kind, users in kinds.items():
                for user_id, data in users.items():
                    assert abs(data["ts"] - 1000 * time.time()) < 600_000
                    found.append((event_id, kind, user_id, data.get("thread_id")))
    return found


async def test_a_receipt_is_shown_to_the_room(room: Conversation) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    since = (await sync(room.alice))["next_batch"]
    waiting = asyncio.create_task(sync(room.alice, since, timeout=30_000))
    assert (await read(room.bob, room.room_id, event_id)).ok() == {}
    answer = await asyncio.wait_for(waiting, 10)
    expected = [(event_id, "m.read", room.bob.user_id, None)]
    assert receipts(answer, room.room_id) == expected
    shown = answer["rooms"]["join"][room.room_id]
    assert shown["timeline"]["events"] == [] and shown["state"]["events"] == [] and "summary" not in shown
    assert shown["timeline"]["limited"] is False and shown["timeline"]["prev_batch"] == answer["next_batch"]
    assert receipts(await sync(room.bob, since), room.room_id) == expected, "its sender's devices too"
    assert await sync(room.alice, answer["next_batch"]) == no_news(answer["next_batch"])
    assert receipts(await sync(room.alice), room.room_id) == expected
    with_state_after = await sync(room.alice, since, use_state_after="true")
    assert with_state_after["rooms"]["join"][room.room_id]["state_after"]["events"] == []


async def test_a_receipt_moves_forwards_alone(room: Conversation) -> None:
    first, second = await say(room.alice, room.room_id, "1"), await say(room.alice, room.room_id, "2")
    (await read(room.bob, room.room_id, second)).ok()
    since = (await sync(room.alice))["next_batch"]
    for event_id in (first, second):
        (await read(room.bob, room.room_id, event_id)).ok()
    assert await sync(room.alice, since) == no_news(since)
    third = await say(room.alice, room.room_id, "3")
    (await read(room.bob, room.room_id, third)).ok()
    assert receipts(await sync(room.alice, since), room.room_id) == [
        (third, "m.read", room.bob.user_id, None)
    ]


async def test_private_receipts_are_their_owners(room: Conversation) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    since = (await sync(room.alice))["next_batch"]
    waiting = asyncio.create_task(sync(room.bob, since, timeout=30_000))
    (await read(room.bob, room.room_id, event_id, "m.read.private")).ok()
    expected = [(event_id, "m.read.private", room.bob.user_id, None)]
    assert receipts(await asyncio.wait_for(waiting, 10), room.room_id) == expected
    assert receipts(await sync(room.bob), room.room_id) == expected
    assert await sync(room.alice, since) == no_news((await sync(room.alice))["next_batch"])
    assert receipts(await sync(room.alice), room.room_id) == []
    (await read(room.bob, room.room_id, event_id)).ok()
    public = (event_id, "m.read", room.bob.user_id, None)
    assert receipts(await sync(room.alice, since), room.room_id) == [public]
    assert sorted(receipts(await sync(room.bob, since), room.room_id)) == [public, *expected]


async def test_threads(room: Conversation) -> None:
    alice, bob, room_id = room.alice, room.bob, room.room_id
    root, other = await say(alice, room_id, "root"), await say(alice, room_id, "other")
    child = await reply(alice, room_id, "m.thread", root)
    edit = await reply(alice, room_id, "m.replace", child, **{"m.new_content": {"body": "y"}})
    about_edit = await reply(alice, room_id, "m.reference", edit)
    far = await reply(alice, room_id, "m.reference", await reply(alice, room_id, "m.reference", about_edit))
    about_root = await reply(alice, room_id, "m.reference", root)
    since = (await sync(alice))["next_batch"]
    for event_id in (root, child, edit, about_edit):
        assert (await read(bob, room_id, event_id, thread_id=root)).ok() == {}
    for event_id in (root, other, far, about_root):
        assert (await read(bob, room_id, event_id, thread_id="main")).ok() == {}
    (await read(bob, room_id, other)).ok()
    expected = {(about_edit, "m.read", root), (about_root, "m.read", "main"), (other, "m.read", None)}
    answer = await sync(alice, since)
    assert {(each[0], each[1], each[3]) for each in receipts(answer, room_id)} == expected
    assert len(answer["rooms"]["join"][room_id]["ephemeral"]["events"]) == 3, "one for each thread"
    (await read(bob, room_id, about_root, "m.read.private", thread_id=root)).ok()
    for event_id in (other, far):
        (await read(bob, room_id, event_id, thread_id=root)).refused(400, "M_INVALID_PARAM")
    for event_id in (child, edit, about_edit):
        (await read(bob, room_id, event_id, thread_id="main")).refused(400, "M_INVALID_PARAM")
        (await read(bob, room_id, event_id, "m.read.private", thread_id=other)).refused(
            400, "M_INVALID_PARAM"
        )
    (await read(bob, room_id, child, "m.read.private", thread_id=root)).ok()
    assert {(each[0], each[1], each[3]) for each in receipts(await sync(alice, since), room_id)} == expected


@pytest.mark.parametrize("thread_id", ["", 5, None, ["main"], "Main", "$nowhere", "$" + "x" * 300])
async def test_threads_that_are_none(room: Conversation, thread_id: Any) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    (await read(room.bob, room.room_id, event_id, thread_id=thread_id)).refused(400, "M_INVALID_PARAM")
    assert receipts(await sync(room.alice), room.room_id) == []


async def test_what_is_refused(room: Conversation, whole: WholeServer) -> None:
    carol, elsewhere = await whole.register("carol"), await create_room(room.bob)
    event_id, other = await say(room.alice, room.room_id, "one"), await say(room.bob, elsewhere, "two")
    (await read(carol, room.room_id, event_id)).refused(403, "M_FORBIDDEN")
    (await read(room.bob, "!none:test", event_id)).refused(403, "M_FORBIDDEN")
    for unknown in (other, "$nothing", "nonsense", "$" + "x" * 300):
        (await read(room.bob, room.room_id, unknown)).refused(404, "M_NOT_FOUND")
    for kind in ("m.seen", "org.matrix.read", "m.read%00"):
        (await read(room.bob, room.room_id, event_id, kind)).refused(400, "M_INVALID_PARAM")
    (await read(room.bob, room.room_id, event_id, "m.fully_read", thread_id="main")).refused(
        400, "M_INVALID_PARAM"
    )
    (await room.bob.with_token(None).post(path(room.room_id, event_id))).refused(401, "M_MISSING_TOKEN")
    (await room.bob.post(path(room.room_id, event_id), content=b"x")).refused(400, "M_NOT_JSON")
    (await room.bob.post(path(room.room_id, event_id), content=b"[]")).refused(400, "M_BAD_JSON")
    (await membership(room.bob, room.room_id, "leave")).ok()
    (await read(room.bob, room.room_id, event_id)).refused(403, "M_FORBIDDEN")
    assert receipts(await sync(room.alice), room.room_id) == []


async def test_old_paths_and_no_body(room: Conversation) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    target = path(room.room_id, event_id).replace("/v3/", "/r0/")
    assert (await room.bob.post(target, content=b"")).ok() == {}
    assert len(receipts(await sync(room.alice), room.room_id)) == 1


async def test_who_joins_gets_all_receipts(room: Conversation, whole: WholeServer) -> None:
    carol = await whole.register("carol")
    since = (await sync(carol))["next_batch"]
    event_id = await say(room.alice, room.room_id, "one")
    (await read(room.bob, room.room_id, event_id)).ok()
    (await read(room.alice, room.room_id, event_id, "m.read.private")).ok()
    (await membership(carol, room.room_id, "join")).ok()
    expected = [(event_id, "m.read", room.bob.user_id, None)]
    assert receipts(await sync(carol, since), room.room_id) == expected
    (await membership(carol, room.room_id, "leave")).ok()
    since = (await sync(carol))["next_batch"]
    (await read(room.alice, room.room_id, event_id)).ok()
    assert await sync(carol, since) == no_news((await sync(carol))["next_batch"])


@pytest.mark.parametrize(
    ("ephemeral", "shown"),
    [
        ({}, True),
        ({"types": ["m.receipt"]}, True),
        ({"types": ["m.*"]}, True),
        ({"types": ["m.typing"]}, False),
        ({"types": []}, False),
        ({"not_types": ["m.receipt"]}, False),
        ({"not_types": ["m.typing"]}, True),
        ({"limit": 1}, True),
        ({"limit": 0}, False),
        ({"rooms": []}, False),
        ({"not_rooms": ["!other:test"]}, True),
    ],
)
async def test_the_filter(room: Conversation, ephemeral: dict[str, Any], shown: bool) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    since = (await sync(room.alice))["next_batch"]
    (await read(room.bob, room.room_id, event_id)).ok()
    wanted = json.dumps({"room": {"ephemeral": ephemeral}})
    assert bool(receipts(await sync(room.alice, filter=wanted), room.room_id)) is shown
    answer = await sync(room.alice, since, filter=wanted)
    assert bool(receipts(answer, room.room_id)) is ("rooms" in answer) is shown


async def test_the_filter_by_rooms(room: Conversation) -> None:
    event_id = await say(room.alice, room.room_id, "one")
    since = (await sync(room.alice))["next_batch"]
    (await read(room.bob, room.room_id, event_id)).ok()
    for name, shown in (("rooms", True), ("not_rooms", False)):
        wanted = json.dumps({"room": {"ephemeral": {name: [room.room_id]}}})
        assert ("rooms" in await sync(room.alice, since, filter=wanted)) is shown


async def test_receipts_come_with_messages(room: Conversation) -> None:
    since = (await sync(room.alice))["next_batch"]
    event_id = await say(room.alice, room.room_id, "one")
    (await read(room.bob, room.room_id, event_id)).ok()
    answer = await sync(room.alice, since)
    assert len(receipts(answer, room.room_id)) == 1
    assert [event["event_id"] for event in answer["rooms"]["join"][room.room_id]["timeline"]["events"]] == [
        event_id
    ]
