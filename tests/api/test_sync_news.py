"""/sync waits for every kind of news and for nothing else; the same question gets the same answer; tokens outlive a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.certificates import Authority
from tests.support.client import Client, no_news
from tests.support.whole import V3, WholeServer, create_room, membership, say, sync


@dataclass(frozen=True)
class World:
    """Alice and bob share a room; bob waits."""

    alice: Client
    bob: Client
    room_id: str

    @property
    def room(self) -> str:
        """Where the room is."""
        return f"{V3}/rooms/{quote(self.room_id)}"

    @property
    def mine(self) -> str:
        """Where what is bob's alone is."""
        return f"{V3}/user/{quote(self.bob.user_id)}"

    async def message(self) -> Any:
        await say(self.alice, self.room_id, "hello")

    async def state(self) -> Any:
        (await self.alice.put(f"{self.room}/state/m.room.topic", {"topic": "new"})).ok()

    async def redaction(self) -> Any:
        event_id = await say(self.alice, self.room_id, "a mistake")
        (await self.alice.put(f"{self.room}/redact/{quote(event_id)}/t", {})).ok()

    async def receipt(self) -> Any:
        event_id = await say(self.bob, self.room_id, "read this")
        (await self.alice.post(f"{self.room}/receipt/m.read/{quote(event_id)}")).ok()

    async def typing(self) -> Any:
        path = f"{self.room}/typing/{quote(self.alice.user_id)}"
        (await self.alice.put(path, {"typing": True, "timeout": 30_000})).ok()

    async def presence(self) -> Any:
        path = f"{V3}/presence/{quote(self.alice.user_id)}/status"
        (await self.alice.put(path, {"presence": "online", "status_msg": "at the river"})).ok()

    async def name(self) -> Any:
        path = f"{V3}/profile/{quote(self.alice.user_id)}/displayname"
        (await self.alice.put(path, {"displayname": "Alice"})).ok()

    async def invite(self) -> Any:
        other = await create_room(self.alice)
        (await self.alice.post(f"{V3}/rooms/{quote(other)}/invite", {"user_id": self.bob.user_id})).ok()

    async def kick(self) -> Any:
        (await self.alice.post(f"{self.room}/kick", {"user_id": self.bob.user_id})).ok()

    async def own_join(self) -> Any:
        other = await create_room(self.alice)
        (await membership(self.bob, other, "join")).ok()

    async def own_knock(self) -> Any:
        knock = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        other = await create_room(self.alice, initial_state=[knock])
        (await self.bob.post(f"{V3}/knock/{quote(other)}")).ok()

    async def account_data(self) -> Any:
        (await self.bob.put(f"{self.mine}/account_data/org.example", {"a": 1})).ok()

    async def room_account_data(self) -> Any:
        path = f"{self.mine}/rooms/{quote(self.room_id)}/account_data/org.example"
        (await self.bob.put(path, {"a": 1})).ok()

    async def tag(self) -> Any:
        (await self.bob.put(f"{self.mine}/rooms/{quote(self.room_id)}/tags/u.work", {})).ok()

    async def push_rule(self) -> Any:
        rule = {"actions": ["notify"], "pattern": "cake"}
        (await self.bob.put(f"{V3}/pushrules/global/content/cake", rule)).ok()

    async def read_marker(self) -> Any:
        event_id = await say(self.bob, self.room_id, "here")
        (await self.bob.post(f"{self.room}/read_markers", {"m.fully_read": event_id})).ok()


async def world(server: WholeServer) -> World:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    return World(alice, bob, room_id)


def in_room(section: str) -> Callable[[Any, str], bool]:
    """Whether there is something in a section of the room."""
    return lambda answer, room_id: bool(answer["rooms"]["join"][room_id][section]["events"])


def rooms_of(section: str) -> Callable[[Any, str], bool]:
    """Whether there is a room in a section."""
    return lambda answer, _: bool(answer["rooms"][section])


def of_type(event_type: str) -> Callable[[Any, str], bool]:
    """Whether there is account data of a type."""
    return lambda answer, _: event_type in {datum["type"] for datum in answer["account_data"]["events"]}


NEWS: list[tuple[Callable[[World], Awaitable[Any]], Callable[[Any, str], bool]]] = [
    (World.message, in_room("timeline")),
    (World.state, in_room("timeline")),
    (World.redaction, in_room("timeline")),
    (World.receipt, in_room("ephemeral")),
    (World.typing, in_room("ephemeral")),
    (World.presence, lambda answer, _: bool(answer["presence"]["events"])),
    (World.name, in_room("timeline")),
    (World.invite, rooms_of("invite")),
    (World.kick, rooms_of("leave")),
    (World.own_join, rooms_of("join")),
    (World.own_knock, rooms_of("knock")),
    (World.account_data, of_type("org.example")),
    (World.room_account_data, in_room("account_data")),
    (World.tag, in_room("account_data")),
    (World.push_rule, of_type("m.push_rules")),
    (World.read_marker, in_room("account_data")),
]


@pytest.mark.parametrize(("cause", "is_told"), NEWS, ids=lambda value: getattr(value, "__name__", ""))
async def test_every_kind_of_news_wakes(
    whole: WholeServer,
    cause: Callable[[World], Awaitable[Any]],
    is_told: Callable[[Any, str], bool],
) -> None:
    given = await world(whole)
    since = (await sync(given.bob))["next_batch"]
    assert await sync(given.bob, since) == no_news(since)

    async def told() -> None:
        """Goes on from answer to answer, as clients do, until it is told."""
        token = since
        while True:
            answer = await sync(given.bob, token, timeout=60_000)
            try:
                if is_told(answer, given.room_id):
                    return
            except KeyError:
                assert answer != no_news(answer["next_batch"]), "woken for nothing"
            token = answer["next_batch"]

    waiting = asyncio.create_task(told())
    await cause(given)
    async with asyncio.timeout(30):
        await waiting


async def test_nothing_else_wakes(whole: WholeServer) -> None:
    given = await world(whole)
    dave = await whole.register("dave")
    elsewhere = await create_room(dave)
    hidden = await create_room(given.alice)
    (await membership(given.bob, hidden, "join")).ok()
    wanted = json.dumps({"room": {"not_rooms": [hidden], "timeline": {"not_types": ["org.example.*"]}}})
    since = (await sync(given.bob, filter=wanted))["next_batch"]
    waiting = asyncio.create_task(sync(given.bob, since, timeout=60_000, filter=wanted))
    await say(dave, elsewhere, "nothing to do with bob")
    path = f"{V3}/user/{quote(dave.user_id)}/account_data/org.example"
    (await dave.put(path, {"of": "dave"})).ok()
    await say(given.alice, hidden, "in a room that the filter hides")
    filtered = f"{given.room}/send/org.example.noise/t"
    (await given.alice.put(filtered, {"of a type": "that the filter hides"})).ok()
    assert not waiting.done()
    said = await say(given.alice, given.room_id, "for bob")
    async with asyncio.timeout(30):
        answer = await waiting
    assert "account_data" not in answer
    assert set(answer["rooms"]["join"]) == {given.room_id}
    timeline = answer["rooms"]["join"][given.room_id]["timeline"]["events"]
    assert [event["event_id"] for event in timeline] == [said]


def ageless(answer: Any) -> Any:
    """An answer without what depends on the time of the question."""
    return json.loads(
        json.dumps(answer), object_hook=lambda each: {k: v for k, v in each.items() if k != "age"}
    )


LAZY = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}


@pytest.mark.parametrize("wanted", [{}, LAZY, {"room": {"include_leave": True}}])
async def test_the_same_question_gets_the_same_answer(whole: WholeServer, wanted: Any) -> None:
    given = await world(whole)
    left = await create_room(given.alice)
    (await membership(given.bob, left, "join")).ok()
    (await membership(given.bob, left, "leave")).ok()
    options = {"filter": json.dumps(wanted)}
    first = await sync(given.bob, **options)
    assert ageless(await sync(given.bob, **options)) == ageless(first)
    for cause in (World.message, World.state, World.invite, World.tag, World.account_data, World.receipt):
        await cause(given)
    since = first["next_batch"]
    second = await sync(given.bob, since, **options)
    assert "rooms" in second and "account_data" in second
    for _ in range(2):
        assert ageless(await sync(given.bob, since, **options)) == ageless(second)
    third = await sync(given.bob, second["next_batch"], full_state="true", **options)
    assert ageless(await sync(given.bob, second["next_batch"], full_state="true", **options)) == ageless(
        third
    )


async def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = WholeServer(authority, tmp_path)
    async with server:
        given = await world(server)
        first = await sync(given.bob, filter='{"room":{"timeline":{"limit":1}}}')
        since = first["next_batch"]
        prev_batch = first["rooms"]["join"][given.room_id]["timeline"]["prev_batch"]
    async with server:
        alice = server.client.with_token(given.alice.access_token, given.alice.user_id)
        bob = server.client.with_token(given.bob.access_token, given.bob.user_id)
        assert await sync(bob, since) == no_news(since)
        said = await say(alice, given.room_id, "after the restart")
        section = (await sync(bob, since))["rooms"]["join"][given.room_id]
        assert [event["event_id"] for event in section["timeline"]["events"]] == [said]
        page = await bob.get(f"{V3}/rooms/{quote(given.room_id)}/messages?dir=b&from={prev_batch}")
        assert said not in {event["event_id"] for event in page.ok()["chunk"]}
