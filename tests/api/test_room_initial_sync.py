"""/rooms/{roomId}/initialSync: of members, of those who left, and of those who look in."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.api.test_old_sync import WORLD_READABLE, ids
from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership, say


async def initial_sync(client: Client, room_id: str, query: str = "") -> Answer:
    return await client.get(f"{V3}/rooms/{quote(room_id)}/initialSync{query}")


def name_of(room: Any) -> Any:
    """What its state says that it is called."""
    return next(event["content"]["name"] for event in room["state"] if event["type"] == "m.room.name")


async def test_a_member_and_one_who_left(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice, name="Before")
    (await membership(bob, room_id, "join")).ok()
    said = [await say(alice, room_id, f"{number}") for number in range(3)]
    room = (await initial_sync(bob, room_id, "?limit=2")).ok()
    assert (room["room_id"], room["membership"], room["visibility"]) == (room_id, "join", "private")
    assert ids(room["messages"]) == said[1:]
    (await membership(bob, room_id, "leave")).ok()
    (await alice.put(f"{V3}/rooms/{quote(room_id)}/state/m.room.name", {"name": "After"})).ok()
    await say(alice, room_id, "bob is gone")
    room = (await initial_sync(bob, room_id)).ok()
    assert (room["membership"], name_of(room)) == ("leave", "Before")
    assert room["messages"]["chunk"][-1]["content"] == {"membership": "leave"}
    (await bob.post(f"{V3}/rooms/{quote(room_id)}/forget")).ok()
    (await initial_sync(bob, room_id)).refused(403, "M_FORBIDDEN")


async def test_looking_in_where_all_the_world_may(whole: WholeServer) -> None:
    alice, carol = await whole.register("alice"), await whole.register("carol")
    room_id = await create_room(alice, name="Open")
    hidden = await say(alice, room_id, "before it was open")
    (await initial_sync(carol, room_id)).refused(403, "M_FORBIDDEN")
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.history_visibility"
    (await alice.put(path, WORLD_READABLE[0]["content"])).ok()
    shown = await say(alice, room_id, "hello, all the world")
    (await alice.put(f"{V3}/presence/{quote(alice.user_id)}/status", {"presence": "online"})).ok()
    (await alice.post(f"{V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(shown)}")).ok()
    member = (await initial_sync(alice, room_id)).ok()
    assert [(event["type"], event["room_id"]) for event in member["receipts"]] == [("m.receipt", room_id)]
    assert list(member["receipts"][0]["content"]) == [shown]
    assert alice.user_id in {event["sender"] for event in member["presence"]}
    room = (await initial_sync(carol, room_id, "?limit=50")).ok()
    assert alice.user_id not in {event["sender"] for event in room["presence"]}
    assert "membership" not in room and room["receipts"] == []
    assert name_of(room) == "Open"
    assert shown in ids(room["messages"]) and hidden not in ids(room["messages"])
    (await initial_sync(carol, "!nowhere:example.org")).refused(403, "M_FORBIDDEN")
    (await initial_sync(carol, room_id, "?limit=many")).refused(400, "M_INVALID_PARAM")
