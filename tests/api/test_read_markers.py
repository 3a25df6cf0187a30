"""Read markers over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.support.client import Answer, Client, no_news
from tests.support.whole import V3, WholeServer, create_room, membership, say, sync


async def mark(client: Client, room_id: str, body: Any) -> Answer:
    return await client.post(f"{V3}/rooms/{quote(room_id)}/read_markers", body)


def shown(answer: Mapping[str, Any], room_id: str, section: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (
        answer.get("rooms", {}).get("join", {}).get(room_id, {}).get(section, {}).get("events", [])
    )
    return events


async def test_marker_and_receipts_in_one(whole: WholeServer, alice: Client) -> None:
    room_id, bob = await create_room(alice), await whole.register("bob")
    (await membership(bob, room_id, "join")).ok()
    one, two, three = [await say(bob, room_id, text) for text in "123"]
    since = (await sync(alice))["next_batch"]
    body = {"m.fully_read": one, "m.read": two, "m.read.private": three}
    assert (await mark(alice, room_id, body)).ok() == {}
    for answer in (await sync(alice, since), await sync(alice)):
        assert shown(answer, room_id, "account_data") == [
            {"type": "m.fully_read", "content": {"event_id": one}}
        ]
        (event,) = shown(answer, room_id, "ephemeral")
        assert {event_id: set(kinds) for event_id, kinds in event["content"].items()} == {
            two: {"m.read"},
            three: {"m.read.private"},
        }
    (event,) = shown(await sync(bob, since), room_id, "ephemeral")
    assert set(event["content"]) == {two}
    assert shown(await sync(bob, since), room_id, "account_data") == []
    path = f"{V3}/user/{alice.user_id}/rooms/{quote(room_id)}/account_data/m.fully_read"
    assert (await alice.get(path)).ok() == {"event_id": one}


async def test_the_marker_moves_forwards_alone(alice: Client) -> None:
    room_id = await create_room(alice)
    one, two = await say(alice, room_id, "1"), await say(alice, room_id, "2")
    (await mark(alice, room_id, {"m.fully_read": two})).ok()
    since = (await sync(alice))["next_batch"]
    for event_id in (one, two):
        assert (await mark(alice, room_id, {"m.fully_read": event_id})).ok() == {}
    assert await sync(alice, since) == no_news(since)


async def test_the_marker_as_a_receipt(alice: Client) -> None:
    room_id = await create_room(alice)
    event_id = await say(alice, room_id, "1")
    since = (await sync(alice))["next_batch"]
    target = f"{V3}/rooms/{quote(room_id)}/receipt/m.fully_read/{quote(event_id)}"
    assert (await alice.post(target, {})).ok() == {}
    answer = await sync(alice, since)
    assert shown(answer, room_id, "ephemeral") == []
    assert shown(answer, room_id, "account_data") == [
        {"type": "m.fully_read", "content": {"event_id": event_id}}
    ]


async def test_nothing_to_mark(alice: Client) -> None:
    room_id = await create_room(alice)
    since = (await sync(alice))["next_batch"]
    target = f"/_matrix/client/r0/rooms/{quote(room_id)}/read_markers"
    assert (await alice.post(target, {"org.example": 5, "m.read": None})).ok() == {}
    assert await sync(alice, since) == no_news(since)


async def test_what_is_refused_leaves_all_as_it_was(whole: WholeServer, alice: Client) -> None:
    room_id, elsewhere = await create_room(alice), await create_room(alice)
    event_id, other = await say(alice, room_id, "1"), await say(alice, elsewhere, "1")
    since = (await sync(alice))["next_batch"]
    for unknown in ("$nothing", "x", other):
        for kind in ("m.fully_read", "m.read", "m.read.private"):
            body = {"m.fully_read": event_id, "m.read": event_id, "m.read.private": event_id} | {
                kind: unknown
            }
            (await mark(alice, room_id, body)).refused(404, "M_NOT_FOUND")
    for kind in ("m.fully_read", "m.read", "m.read.private"):
        (await mark(alice, room_id, {kind: 5})).refused(400, "M_BAD_JSON")
    (await mark(await whole.register("bob"), room_id, {"m.read": event_id})).refused(403, "M_FORBIDDEN")
    (await mark(alice, "!none:test", {"m.read": event_id})).refused(403, "M_FORBIDDEN")
    (await mark(alice.with_token(None), room_id, {"m.read": event_id})).refused(401, "M_MISSING_TOKEN")
    assert await sync(alice, since) == no_news(since)
