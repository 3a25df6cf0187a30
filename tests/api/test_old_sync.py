"""/events, /events/{eventId} and /initialSync."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.client import Client
from tests.support.whole import (
    V3,
    Conversation,
    WholeServer,
    conversation,
    create_room,
    membership,
    say,
    sync,
)

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
    """The IDs of the rooms' events."""
    return [event["event_id"] for event in answer["chunk"] if "event_id" in event]


def beside(answer: Any, event_type: str) -> list[Any]:
    """What is told of this type that is no event of a room, in order."""
    return [event for event in answer["chunk"] if event["type"] == event_type and "event_id" not in event]


async def settled(client: Client, **query: Any) -> str:
    """A token after which there is nothing for the client, who is online by it."""
    answer = await events(client, timeout=0, **query)
    while answer["chunk"]:
        answer = await events(client, timeout=0, start=answer["end"], **query)
    end: str = answer["end"]
    return end


async def while_waiting(
    client: Client, start: str, happen: Callable[[], Awaitable[Any]], **query: Any
) -> Any:
    """The answer of a request that waits when something happens."""
    waiting = asyncio.create_task(events(client, start=start, timeout=20_000, **query))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await happen()
    async with asyncio.timeout(10):
        return await waiting


async def test_events_come_one_after_the_other(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    here, there, elsewhere = [await create_room(alice) for _ in range(3)]
    for room_id in (here, there):
        (await membership(bob, room_id, "join")).ok()
    start = await settled(bob)
    said = [await say(alice, room_id, "hello") for room_id in (here, there, here)]
    await say(alice, elsewhere, "not for bob")
    answer = await events(bob, start=start, timeout=0)
    assert ids(answer) == said
    assert answer["start"] == start
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
    await settled(bob)
    waiting = asyncio.create_task(events(bob, timeout=20_000))
    said: list[str] = []
    while not waiting.done():
        said.append(await say(alice, room_id, "hello"))
        await asyncio.sleep(0.05)
    assert ids(await waiting) and set(ids(await waiting)) <= set(said)
    start = await settled(bob)
    waiting = asyncio.create_task(events(bob, start=start))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "it waits also without a time-out"
    said = [await say(alice, room_id, "hello")]
    assert ids(await waiting) == said


async def test_events_tell_of_ones_own_comings_and_goings(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create_room(alice)
    start = (await sync(bob))["next_batch"]
    await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": bob.user_id})
    (await membership(bob, room_id, "join")).ok()
    (await membership(bob, room_id, "leave")).ok()
    await say(alice, room_id, "bob is gone")
    shown = [event for event in (await events(bob, start=start, timeout=0))["chunk"] if "event_id" in event]
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
    start = await settled(alice)
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
    receipt = f"{V3}/rooms/{quote(joined)}/receipt/m.read/{quote(said[-1])}"
    (await alice.post(receipt)).ok()
    presence = f"{V3}/presence/{quote(alice.user_id)}/status"
    (await alice.put(presence, {"presence": "unavailable"})).ok()
    answer = (await bob.get(f"{V3}/initialSync?limit=2")).ok()
    assert [event["sender"] for event in answer["presence"]] == [alice.user_id]
    assert [event["content"]["user_id"] for event in answer["presence"]] == [alice.user_id]
    [receipts] = answer["receipts"]
    assert (receipts["type"], receipts["room_id"]) == ("m.receipt", joined)
    assert list(receipts["content"][said[-1]]["m.read"]) == [alice.user_id]
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
    # All that is new since is that he listens.
    following = (await events(bob, start=answer["end"], timeout=0))["chunk"]
    assert [(event["type"], event["sender"]) for event in following] == [("m.presence", bob.user_id)]
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


async def read(client: Client, room_id: str, event_id: str, kind: str = "m.read") -> None:
    (await client.post(f"{V3}/rooms/{quote(room_id)}/receipt/{kind}/{quote(event_id)}")).ok()


async def types(client: Client, room_id: str, typing: bool) -> None:
    (
        await client.put(
            f"{V3}/rooms/{quote(room_id)}/typing/{quote(client.user_id)}",
            {"typing": typing, "timeout": 30_000} if typing else {"typing": False},
        )
    ).ok()


async def keep(client: Client, what: str, content: Any, room_id: str | None = None) -> None:
    """Set account data."""
    room = f"/rooms/{quote(room_id)}" if room_id else ""
    (await client.put(f"{V3}/user/{quote(client.user_id)}{room}/account_data/{what}", content)).ok()


async def is_present(client: Client, presence: str) -> None:
    (await client.put(f"{V3}/presence/{quote(client.user_id)}/status", {"presence": presence})).ok()


async def ignore(client: Client, other: Client) -> None:
    await keep(client, "m.ignored_user_list", {"ignored_users": {other.user_id: {}}})


@pytest.fixture
async def room(whole: WholeServer) -> Conversation:
    """A room of two."""
    return await conversation(whole)


@pytest.mark.parametrize("one_room", [False, True])
async def test_receipts(room: Conversation, one_room: bool) -> None:
    query = {"room_id": room.room_id} if one_room else {}
    said = [await say(room.alice, room.room_id, f"{number}") for number in range(2)]
    start = await settled(room.alice, **query)
    answer = await while_waiting(room.alice, start, lambda: read(room.bob, room.room_id, said[0]), **query)
    [event] = answer["chunk"]
    assert (event["type"], event["room_id"]) == ("m.receipt", room.room_id)
    assert list(event["content"][said[0]]["m.read"]) == [room.bob.user_id]
    assert (await events(room.alice, start=start, timeout=0, **query))["chunk"] == [event]
    assert (await events(room.alice, start=answer["end"], timeout=0, **query))["chunk"] == []
    await read(room.bob, room.room_id, said[1], "m.read.private")
    assert beside(await events(room.alice, start=answer["end"], timeout=0, **query), "m.receipt") == []
    assert len(beside(await events(room.bob, start=answer["end"], timeout=0, **query), "m.receipt")) == 1


@pytest.mark.parametrize("one_room", [False, True])
async def test_typing(room: Conversation, one_room: bool) -> None:
    query = {"room_id": room.room_id} if one_room else {}

    def told(users: list[str]) -> list[Any]:
        return [{"type": "m.typing", "room_id": room.room_id, "content": {"user_ids": users}}]

    start = await settled(room.alice, **query)
    began = await while_waiting(room.alice, start, lambda: types(room.bob, room.room_id, True), **query)
    assert began["chunk"] == told([room.bob.user_id])
    assert (await events(room.alice, start=start, timeout=0, **query))["chunk"] == began["chunk"]
    assert (await events(room.alice, start=began["end"], timeout=0, **query))["chunk"] == []
    ended = await while_waiting(
        room.alice, began["end"], lambda: types(room.bob, room.room_id, False), **query
    )
    assert ended["chunk"] == told([])
    assert (await events(room.alice, start=ended["end"], timeout=0, **query))["chunk"] == []
    # Who begins to listen is told of what changes, not of who types already.
    await types(room.bob, room.room_id, True)
    assert (await events(room.alice, timeout=0, **query))["chunk"] == []
    initial = (await room.alice.get(f"{V3}/initialSync")).ok()
    assert beside(await events(room.alice, start=initial["end"]), "m.typing") == told([room.bob.user_id])


async def test_presence(room: Conversation, whole: WholeServer) -> None:
    stranger = await whole.register("stranger")
    start = await settled(room.alice)
    one = await settled(room.alice, room_id=room.room_id)
    answer = await while_waiting(room.alice, start, lambda: is_present(room.bob, "unavailable"))
    [event] = answer["chunk"]
    assert (event["type"], event["sender"]) == ("m.presence", room.bob.user_id)
    assert event["content"]["presence"] == "unavailable"
    assert event["content"]["user_id"] == room.bob.user_id, "matrix-js-sdk looks for it there"
    assert (await events(room.alice, start=answer["end"], timeout=0))["chunk"] == []
    await is_present(stranger, "unavailable")
    assert (await events(room.alice, start=answer["end"], timeout=0))["chunk"] == []
    elsewhere = await create_room(room.alice)
    (await membership(stranger, elsewhere, "join")).ok()
    told = beside(await events(room.alice, start=one, room_id=room.room_id), "m.presence")
    assert [each["sender"] for each in told] == [room.bob.user_id]


async def test_who_listens_is_online(room: Conversation) -> None:
    start = await settled(room.alice)
    await events(room.bob, timeout=0)
    [event] = (await events(room.alice, start=start, timeout=0))["chunk"]
    assert (event["sender"], event["content"]["presence"]) == (room.bob.user_id, "online")


async def test_account_data(room: Conversation) -> None:
    alice, room_id = room.alice, room.room_id
    start = await settled(alice)
    answer = await while_waiting(alice, start, lambda: keep(alice, "org.example", {"a": 1}))
    assert answer["chunk"] == [{"type": "org.example", "content": {"a": 1}}]
    tag = f"{V3}/user/{quote(alice.user_id)}/rooms/{quote(room_id)}/tags/u.work"
    answer = await while_waiting(alice, answer["end"], lambda: alice.put(tag, {"order": 0.5}))
    tagged = {"type": "m.tag", "room_id": room_id, "content": {"tags": {"u.work": {"order": 0.5}}}}
    assert answer["chunk"] == [tagged]
    rule = f"{V3}/pushrules/global/override/.m.rule.master/enabled"
    ruled = await while_waiting(alice, answer["end"], lambda: alice.put(rule, {"enabled": True}))
    assert [event["type"] for event in ruled["chunk"]] == ["m.push_rules"]
    assert (await events(alice, start=ruled["end"], timeout=0))["chunk"] == []
    everything = (await events(alice, start=start, timeout=0))["chunk"]
    assert {event["type"] for event in everything} == {"org.example", "m.tag", "m.push_rules"}
    assert len(everything) == 3
    # What belongs to no room is not of the one that is watched.
    assert (await events(alice, start=start, timeout=0, room_id=room_id))["chunk"] == [tagged]
    assert (await events(room.bob, start=await settled(room.bob), timeout=0))["chunk"] == []


async def test_ignored_users_are_left_out_of_all_kinds(room: Conversation) -> None:
    await ignore(room.alice, room.bob)
    start = await settled(room.alice)
    said = await say(room.alice, room.room_id, "hello")
    await types(room.bob, room.room_id, True)
    await read(room.bob, room.room_id, said)
    await is_present(room.bob, "unavailable")
    assert ids(await events(room.alice, start=start, timeout=0)) == [said]
    assert len((await events(room.alice, start=start, timeout=0))["chunk"]) == 1


async def test_who_looks_in_is_told_of_the_rooms_events_alone(whole: WholeServer) -> None:
    alice, carol = await whole.register("alice"), await whole.register("carol")
    room_id = await create_room(alice, initial_state=WORLD_READABLE)
    start = await settled(carol, room_id=room_id)
    await types(alice, room_id, True)
    await is_present(alice, "unavailable")
    said = await say(alice, room_id, "hello")
    await read(alice, room_id, said)
    answer = await events(carol, start=start, room_id=room_id, timeout=0)
    assert ids(answer) == [said] and len(answer["chunk"]) == 1


async def test_nothing_is_doubled_or_lost_where_there_is_much(room: Conversation) -> None:
    """What lies between the events of two answers comes with the one that reaches so far."""
    alice, bob, room_id = room.alice, room.bob, room.room_id
    start = await settled(alice)
    early = await say(bob, room_id, "early")
    await keep(alice, "org.example.early", {})
    await read(bob, room_id, early)
    for number in range(100):
        await say(bob, room_id, f"{number}")
    await keep(alice, "org.example.late", {})
    await is_present(bob, "unavailable")
    (await alice.put(f"{V3}/pushrules/global/override/.m.rule.master/enabled", {"enabled": True})).ok()
    first = await events(alice, start=start, timeout=0)
    second = await events(alice, start=first["end"], timeout=0)
    assert len(ids(first)) == 100 and len(ids(second)) == 1
    kinds = [
        [event["type"] for event in answer["chunk"] if "event_id" not in event] for answer in (first, second)
    ]
    assert sorted(kinds[0]) == ["m.receipt", "org.example.early"]
    assert sorted(kinds[1]) == ["m.presence", "m.push_rules", "org.example.late"]
    assert (await events(alice, start=second["end"], timeout=0))["chunk"] == []


async def test_who_joins_is_told_what_there_is_in_the_room(room: Conversation, whole: WholeServer) -> None:
    said = await say(room.alice, room.room_id, "hello")
    await read(room.bob, room.room_id, said)
    await types(room.bob, room.room_id, True)
    await is_present(room.bob, "online")
    carol = await whole.register("carol")
    await keep(carol, "org.example", {}, room.room_id)
    start = await settled(carol)
    (await membership(carol, room.room_id, "join")).ok()
    answer = await events(carol, start=start, timeout=0)
    assert answer["chunk"][0]["state_key"] == carol.user_id
    told = {event["type"] for event in answer["chunk"][1:]}
    assert told == {"m.receipt", "m.typing", "m.presence", "org.example"}
    assert (await events(carol, start=answer["end"], timeout=0))["chunk"] == []


async def test_unwanted_invites_are_not_told(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    await ignore(alice, bob)
    room_id = await create_room(bob, initial_state=WORLD_READABLE)
    start = await settled(alice)
    (await bob.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": alice.user_id})).ok()
    assert (await events(alice, start=start, timeout=0))["chunk"] == []
