"""Sending events that are not state."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, RoomServer


def path(room_id: str, transaction: str = "1", kind: str = "org.example") -> str:
    return f"/rooms/{quote(room_id)}/send/{quote(kind, safe='')}/{quote(transaction, safe='')}"


async def test_a_message_is_sent_and_read(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    content = {"msgtype": "m.text", "body": "hello", "n": -(2**53) + 1, "nested": [{"a": None}]}
    event_id = (await rooms.alice.put(path(room_id, kind="m.room.message"), content)).ok()["event_id"]
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}")).ok()
    assert event["content"] == content
    assert (event["type"], event["sender"], event["room_id"]) == ("m.room.message", ALICE, room_id)
    assert "state_key" not in event
    assert event["unsigned"]["transaction_id"] == "1"
    assert event["unsigned"]["age"] >= 0


async def test_a_transaction_is_done_once(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    first, again = [
        (await rooms.alice.put(path(room_id), {"body": text})).ok()["event_id"] for text in ("1", "2")
    ]
    assert first == again
    other_type = (await rooms.alice.put(path(room_id, kind="x.other"), {})).ok()["event_id"]
    other_device = (await rooms.user(ALICE, "OTHER").put(path(room_id), {})).ok()["event_id"]
    other_transaction = (await rooms.alice.put(path(room_id, "2"), {})).ok()["event_id"]
    no_device = (await rooms.user(ALICE, None).put(path(room_id), {})).ok()["event_id"]
    no_device_again = (await rooms.user(ALICE, None).put(path(room_id), {})).ok()["event_id"]
    assert len({first, other_type, other_device, other_transaction, no_device}) == 5
    assert no_device == no_device_again


async def test_the_same_transaction_at_the_same_time_is_one_event(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    answers = await asyncio.gather(*(rooms.alice.put(path(room_id), {"body": "x"}) for _ in range(8)))
    assert len({answer.ok()["event_id"] for answer in answers}) == 1


async def test_many_at_once_all_arrive(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    answers = await asyncio.gather(*(rooms.alice.put(path(room_id, str(n)), {"n": n}) for n in range(20)))
    sent = {answer.ok()["event_id"] for answer in answers}
    page = await rooms.alice.messages(room_id, dir="b", limit=20)
    assert {event["event_id"] for event in page["chunk"]} == sent


async def test_only_the_sending_device_is_told_the_transaction(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    await rooms.alice.put(path(room_id, "txn/1"), {"body": "x"})
    own = (await rooms.alice.messages(room_id, dir="b", limit=1))["chunk"][0]
    assert own["unsigned"]["transaction_id"] == "txn/1"
    other = (await rooms.user(ALICE, "OTHER").messages(room_id, dir="b", limit=1))["chunk"][0]
    assert "transaction_id" not in other["unsigned"]


async def test_who_is_not_in_the_room_cannot_send(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.bob.put(path(room_id), {})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.put(path("!none:ours.test"), {})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.put(path("nonsense"), {})).refused(403, "M_FORBIDDEN")


async def test_power_levels_hold(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(
        preset="public_chat", power_level_content_override={"events_default": 50}
    )
    await rooms.bob.join(room_id)
    (await rooms.bob.put(path(room_id), {})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.put(path(room_id), {})).ok()


@pytest.mark.parametrize(
    ("content", "status", "errcode"),
    [
        (b"", 400, "M_NOT_JSON"),
        (b"{", 400, "M_NOT_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b'"text"', 400, "M_BAD_JSON"),
        (b'{"body": "\xff"}', 400, "M_NOT_JSON"),
        (b'{"body": "\\ud800"}', 400, "M_NOT_JSON"),
        (b'{"a": 1, "a": 2}', 400, "M_NOT_JSON"),
        (b'{"n": NaN}', 400, "M_NOT_JSON"),
        (b'{"n": 9007199254740992}', 400, "M_BAD_JSON"),
        (b'{"n": 1' + b"0" * 400 + b"}", 400, "M_BAD_JSON"),
        (b'{"n": 0.5}', 400, "M_BAD_JSON"),
        (b'{"n": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "M_NOT_JSON"),
        (b'{"body": "' + b"x" * 65_536 + b'"}', 413, "M_TOO_LARGE"),
        (b'{"body": "' + b"x" * 5_000_000 + b'"}', 413, "M_TOO_LARGE"),
    ],
    ids=range(14),
)
async def test_content_that_is_refused(rooms: RoomServer, content: bytes, status: int, errcode: str) -> None:
    room_id = await rooms.alice.create()
    answer = await rooms.alice.http.put("/_matrix/client/v3" + path(room_id), content=content)
    answer.refused(status, errcode)


async def test_a_nul_in_the_content_is_kept(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    event_id = (await rooms.alice.put(path(room_id), {"body": "a\0b"})).ok()["event_id"]
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}")).ok()
    assert event["content"]["body"] == "a\0b"


@pytest.mark.parametrize(
    ("kind", "transaction", "status", "errcode"),
    [
        ("x" * 256, "1", 413, "M_TOO_LARGE"),
        ("m.room.message", "x" * 256, 400, "M_INVALID_PARAM"),
        ("m.room.message", "", 400, "M_INVALID_PARAM"),
        ("m.room.create", "1", 403, "M_FORBIDDEN"),
        ("m.room.member", "1", 403, "M_FORBIDDEN"),
        ("a\0b", "1", 400, "M_INVALID_PARAM"),
    ],
)
async def test_types_and_transactions_that_are_refused(
    rooms: RoomServer, kind: str, transaction: str, status: int, errcode: str
) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.put(path(room_id, transaction, kind), {})).refused(status, errcode)


@pytest.mark.parametrize("version", ["1", "10", "11", "12"])
async def test_a_redaction_can_be_sent_like_a_message(rooms: RoomServer, version: str) -> None:
    room_id = await rooms.alice.create(room_version=version)
    target = await rooms.alice.say(room_id, "oops")
    content: dict[str, Any] = {"redacts": target, "reason": "typo"}
    redaction = (await rooms.alice.send(room_id, content, "m.room.redaction")).ok()["event_id"]
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(target, safe='')}")).ok()
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == redaction
    assert event["unsigned"]["redacted_because"]["content"] == content
    assert event["unsigned"]["redacted_because"]["redacts"] == target


async def test_a_redaction_of_nothing_is_refused(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.send(room_id, {}, "m.room.redaction")).refused(400, "M_BAD_JSON")
    (await rooms.alice.send(room_id, {"redacts": 7}, "m.room.redaction")).refused(400, "M_BAD_JSON")
    answer = await rooms.alice.send(room_id, {"redacts": "$nothing"}, "m.room.redaction")
    answer.refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"body": "x"},
        {"msgtype": "m.text"},
        {"msgtype": "m.text", "body": 7},
        {"msgtype": [], "body": "x"},
    ],
)
async def test_messages_that_are_none(rooms: RoomServer, content: dict[str, Any]) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.send(room_id, content)).refused(400, "M_BAD_JSON")
    (await rooms.alice.send(room_id, content, "m.room.encrypted")).ok()
