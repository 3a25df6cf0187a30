"""/events, /events/{eventId} and /initialSync."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say, sync

WORLD_READABLE = [
    {
        "type": "m.room.history_visibility",
        "state_key": "",
        "content": {"history_visibility": "world_readable"},
    }
]


async def events(client: Client, **query: Any) -> Any:
    """An answer of /events; `start` stands for `from`."""
    if "start" in query:
        query["from"] = query.pop("start")
    return (await client.get(f"{V3}/events?{urlencode(query)}")).ok()


def ids(answer: Any) -> list[str]:
    return [event["event_id"] for event in answer["chunk"]]


async def test_events_come_one_after_the_other(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    here, there, elsewhere = [await create_room(alice) for _ in range(3)]
    for room_id in (here, there):
        (await membership(bob, room_id, "join")).ok()
    start = (await sync(bob))["next_batch"]
    said = [await say(alice, room_id, "hello") for room_id in (here, there, here)]
    await say(alice, elsewhere, "not for bob")
    answer = await events(bob, start=start, timeout=0)
    assert ids(answer) == said
    assert answer["start"].split("_")[0] == start.split("_")[0]
    assert answer["chunk"][0]["room_id"] == here
    assert await events(bob, start=answer["end"], timeout=0) == {
        "start": answer["end"],
        "end": answer["end"],
        "chunk": [],
    }
    # /sync goes on from the same token.
    assert "rooms" not in await sync(bob, answer["end"])


async def test_events_wait_for_what_comes(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    waiting = asyncio.create_task(events(bob, timeout=20_000))
    said: list[str] = []
    while not waiting.done():
        said.append(await say(alice, room_id, "hello"))
        await asyncio.sleep(0.05)
    assert ids(await waiting) and set(ids(await waiting)) <= set(said)


async def test_events_tell_of_ones_own_comings_and_goings(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice)
    start = (await sync(bob))["next_batch"]
    await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": bob.user_id})
    (await membership(bob, room_id, "join")).ok()
    (await membership(bob, room_id, "leave")).ok()
    await say(alice, room_id, "bob is gone")
    shown = (await events(bob, start=start, timeout=0))["chunk"]
    assert [event["content"]["membership"] for event in shown] == ["invite", "join", "leave"]


async def test_many_events_come_in_parts(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    start = (await sync(alice))["next_batch"]
    said = [await say(alice, room_id, f"{number}") for number in range(105)]
    first = await events(alice, start=start)
    second = await events(alice, start=first["end"])
    assert ids(first) + ids(second) == said
    assert len(ids(first)) == 100


async def test_the_events_of_ignored_people_are_left_out(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    path = f"{V3}/user/{quote(alice.user_id)}/account_data/m.ignored_user_list"
    (await alice.put(path, {"ignored_users": {bob.user_id: {}}})).ok()
    start = (await sync(alice))["next_batch"]
    await say(bob, room_id, "hello")
    mine = await say(alice, room_id, "hello")
    (await membership(bob, room_id, "leave")).ok()
    bobs = await create_room(bob)
    await bob.post(f"{V3}/rooms/{quote(bobs)}/invite", {"user_id": alice.user_id})
    assert bobs not in {room["room_id"] for room in (await alice.get(f"{V3}/initialSync")).ok()["rooms"]}
    shown = (await events(alice, start=start, timeout=0))["chunk"]
    assert [event["event_id"] for event in shown[:1]] == [mine]
    assert [event["type"] for event in shown[1:]] == ["m.room.member"]


async def test_peeking_into_one_room(whole: WholeServer) -> None:
    alice, carol = await whole.register("alice"), await whole.register("carol")
    room_id, closed = await create_room(alice, initial_state=WORLD_READABLE), await create_room(alice)
    snapshot = (await carol.get(f"{V3}/rooms/{quote(room_id)}/initialSync")).ok()
    said = await say(alice, room_id, "hello, all the world")
    answer = await events(carol, start=snapshot["messages"]["end"], room_id=room_id, timeout=0)
    assert ids(answer) == [said]
    waiting = asyncio.create_task(events(carol, start=answer["end"], room_id=room_id, timeout=20_000))
    await asyncio.sleep(0.05)
    said = await say(alice, room_id, "hello again")
    assert ids(await waiting) == [said]
    assert ids(await events(carol, start=snapshot["messages"]["end"], timeout=0)) == []
    path = f"{V3}/events?timeout=0&room_id="
    for other in (closed, "!nowhere:example.org", "nonsense"):
        (await carol.get(path + quote(other))).refused(403, "M_FORBIDDEN")


async def test_tokens_that_are_not_ours(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    for token in ("nonsense", "s-1", "s999999999999", "t1_1"):
        (await alice.get(f"{V3}/events?timeout=0&from={token}")).refused(400, "M_INVALID_PARAM")
        (await alice.get(f"{V3}/sync?since={token}")).refused(400, "M_INVALID_PARAM")
    (await alice.get(f"{V3}/events?timeout=soon")).refused(400, "M_INVALID_PARAM")


async def test_one_event_of_any_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice)
    said = await say(alice, room_id, "hello")
    event = (await alice.get(f"{V3}/events/{quote(said)}")).ok()
    assert (event["room_id"], event["content"]["body"]) == (room_id, "hello")
    (await bob.get(f"{V3}/events/{quote(said)}")).refused(404, "M_NOT_FOUND")
    for event_id in ("$nothing", "nonsense"):
        (await alice.get(f"{V3}/events/{quote(event_id)}")).refused(404, "M_NOT_FOUND")


async def test_initial_sync(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    joined = await create_room(alice, name="Joined", visibility="public")
    left, invited, other = [await create_room(alice) for _ in range(3)]
    for room_id in (joined, left):
        (await membership(bob, room_id, "join")).ok()
    said = [await say(alice, joined, f"{number}") for number in range(3)]
    (await membership(bob, left, "leave")).ok()
    await say(alice, left, "bob is gone")
    await alice.post(f"{V3}/rooms/{quote(invited)}/invite", {"user_id": bob.user_id})
    user = f"{V3}/user/{quote(bob.user_id)}"
    (await bob.put(f"{user}/account_data/org.example", {"a": 1})).ok()
    (await bob.put(f"{user}/rooms/{quote(joined)}/account_data/org.example", {"b": 2})).ok()
    presence = f"{V3}/presence/{quote(alice.user_id)}/status"
    (await alice.put(presence, {"presence": "unavailable"})).ok()
    answer = (await bob.get(f"{V3}/initialSync?limit=2")).ok()
    assert [event["sender"] for event in answer["presence"]] == [alice.user_id]
    assert {"type": "org.example", "content": {"a": 1}} in answer["account_data"]
    assert "m.push_rules" in {datum["type"] for datum in answer["account_data"]}
    rooms = {room["room_id"]: room for room in answer["rooms"]}
    assert {room_id: room["membership"] for room_id, room in rooms.items()} == {
        joined: "join",
        invited: "invite",
    }
    room = rooms[joined]
    assert ids(room["messages"]) == said[1:]
    assert room["visibility"] == "public"
    assert room["account_data"] == [{"type": "org.example", "content": {"b": 2}}]
    assert {event["type"] for event in room["state"]} >= {"m.room.create", "m.room.name", "m.room.member"}
    assert rooms[invited]["invite"]["state_key"] == bob.user_id
    earlier = f"{V3}/rooms/{quote(joined)}/messages?dir=b&limit=1&from={room['messages']['start']}"
    assert ids((await bob.get(earlier)).ok()) == said[:1]
    assert ids(await events(bob, start=answer["end"], timeout=0)) == []
    archived = (await bob.get(f"{V3}/initialSync?archived=true")).ok()["rooms"]
    rooms = {room["room_id"]: room for room in archived}
    assert {room_id: room["membership"] for room_id, room in rooms.items()} == {
        joined: "join",
        left: "leave",
        invited: "invite",
    }
    assert rooms[left]["messages"]["chunk"][-1]["content"]["membership"] == "leave"
    assert other not in rooms
    (await bob.post(f"{V3}/rooms/{quote(left)}/forget")).ok()
    archived = (await bob.get(f"{V3}/initialSync?archived=true")).ok()["rooms"]
    assert left not in {room["room_id"] for room in archived}
    (await bob.get(f"{V3}/initialSync?limit=-1")).refused(400, "M_INVALID_PARAM")
