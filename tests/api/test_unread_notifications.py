"""What /sync says is unread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, rename, say, send_path, sync

THREADS = json.dumps({"room": {"timeline": {"unread_thread_notifications": True}}})


class Room:
    """A room of alice and bob, and of carol so that it is no conversation of two."""

    def __init__(self, alice: Client, bob: Client, carol: Client, room_id: str) -> None:
        self.alice, self.bob, self.carol, self.room_id = alice, bob, carol, room_id

    async def counts(self, client: Client, **query: str) -> tuple[int, int]:
        """(notifications, highlights) of an initial sync."""
        return counts(await sync(client, **query), self.room_id)

    async def send(self, client: Client, event_type: str = "m.room.message", **content: Any) -> str:
        body = {"msgtype": "m.text", "body": "x", **content}
        event_id: str = (await client.put(send_path(self.room_id, event_type=event_type), body)).ok()[
            "event_id"
        ]
        return event_id

    async def in_thread(self, client: Client, root: str, rel_type: str = "m.thread", **content: Any) -> str:
        return await self.send(
            client, **{"m.relates_to": {"rel_type": rel_type, "event_id": root}, **content}
        )

    async def read(self, client: Client, event_id: str, kind: str = "m.read", **body: str) -> None:
        path = f"{V3}/rooms/{quote(self.room_id)}/receipt/{kind}/{quote(event_id)}"
        (await client.post(path, body)).ok()


def counts(answer: Mapping[str, Any], room_id: str) -> tuple[int, int]:
    unread = answer["rooms"]["join"][room_id]["unread_notifications"]
    return unread["notification_count"], unread["highlight_count"]


def threads(answer: Mapping[str, Any], room_id: str) -> dict[str, tuple[int, int]]:
    found = answer["rooms"]["join"][room_id].get("unread_thread_notifications", {})
    return {root: (each["notification_count"], each["highlight_count"]) for root, each in found.items()}


@pytest.fixture
async def room(whole: WholeServer) -> Room:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_room(alice)
    for client in (bob, carol):
        (await membership(client, room_id, "join")).ok()
    return Room(alice, bob, carol, room_id)


async def test_messages_count_for_all_but_their_sender_until_they_are_read(room: Room) -> None:
    assert await room.counts(room.bob) == (0, 0)
    await say(room.alice, room.room_id, "one")
    two = await say(room.alice, room.room_id, "two")
    three = await say(room.alice, room.room_id, "three")
    assert await room.counts(room.bob) == (3, 0)
    assert await room.counts(room.alice) == (0, 0)
    await room.read(room.bob, two)
    assert await room.counts(room.bob) == (1, 0)
    assert await room.counts(room.carol) == (3, 0)
    await room.read(room.carol, three, "m.read.private")
    assert await room.counts(room.carol) == (0, 0)


async def test_the_further_of_the_two_receipts_counts(room: Room) -> None:
    first, second, _ = [await say(room.alice, room.room_id, "x") for _ in range(3)]
    await room.read(room.bob, second)
    await room.read(room.bob, first, "m.read.private")
    assert await room.counts(room.bob) == (1, 0)


async def test_mentions_are_highlights(room: Room) -> None:
    await room.send(room.alice, **{"m.mentions": {"user_ids": [room.bob.user_id]}})
    assert await room.counts(room.bob) == (1, 1)
    assert await room.counts(room.carol) == (1, 0)
    await room.send(room.alice, **{"m.mentions": {"room": True}})
    assert await room.counts(room.bob) == (2, 2)
    assert await room.counts(room.carol) == (2, 1)
    await room.send(room.bob, **{"m.mentions": {"room": True}})  # who may not do so
    assert await room.counts(room.carol) == (3, 1)


async def test_what_does_not_notify_does_not_count(room: Room) -> None:
    said = await say(room.alice, room.room_id, "x")
    await room.read(room.bob, said)
    await room.send(room.alice, msgtype="m.notice")
    await room.send(
        room.alice, "m.reaction", **{"m.relates_to": {"rel_type": "m.annotation", "event_id": said}}
    )
    await room.send(room.alice, **{"m.relates_to": {"rel_type": "m.replace", "event_id": said}})
    name = f"{V3}/rooms/{quote(room.room_id)}/state/m.room.name"
    (await room.alice.put(name, {"name": "Lobby"})).ok()
    assert await room.counts(room.bob) == (0, 0)


async def test_who_sends_something_has_read_what_came_before(room: Room) -> None:
    await say(room.alice, room.room_id, "one")
    await say(room.bob, room.room_id, "two")
    assert await room.counts(room.bob) == (0, 0)
    await say(room.alice, room.room_id, "three")
    await rename(room.bob, "Bob", room.room_id)
    assert await room.counts(room.bob) == (1, 0), "a new name is sent into every room, and answers nothing"


async def test_what_was_said_before_a_user_came_does_not_count(whole: WholeServer, room: Room) -> None:
    await say(room.alice, room.room_id, "one")
    dave = await whole.register("dave")
    (await membership(dave, room.room_id, "join")).ok()
    assert await room.counts(dave) == (0, 0)
    await say(room.alice, room.room_id, "two")
    assert await room.counts(dave) == (1, 0)
    (await membership(dave, room.room_id, "leave")).ok()
    await say(room.alice, room.room_id, "three")
    (await membership(dave, room.room_id, "join")).ok()
    assert await room.counts(dave) == (0, 0)


async def test_what_is_redacted_counts_no_more(room: Room) -> None:
    said = await room.send(room.alice, **{"m.mentions": {"user_ids": [room.bob.user_id]}})
    await say(room.alice, room.room_id, "two")
    assert await room.counts(room.bob) == (2, 1)
    (await room.alice.put(f"{V3}/rooms/{quote(room.room_id)}/redact/{quote(said)}/r1", {})).ok()
    assert await room.counts(room.bob) == (1, 0)
    assert await room.counts(room.carol) == (1, 0)


async def test_rules_hold_from_when_they_are_set(room: Room) -> None:
    await say(room.alice, room.room_id, "one")
    mute = f"{V3}/pushrules/global/room/{quote(room.room_id)}"
    (await room.bob.put(mute, {"actions": []})).ok()
    await say(room.alice, room.room_id, "two")
    assert await room.counts(room.bob) == (1, 0)
    assert await room.counts(room.carol) == (2, 0)
    (await room.carol.put(mute, {"actions": ["notify", {"set_tweak": "highlight"}]})).ok()
    await say(room.alice, room.room_id, "three")
    assert await room.counts(room.bob) == (1, 0)
    assert await room.counts(room.carol) == (3, 1)
    (await room.bob.delete(mute)).ok()
    await say(room.alice, room.room_id, "four")
    assert await room.counts(room.bob) == (2, 0)


async def test_a_rule_that_asks_for_the_name_in_the_room(room: Room) -> None:
    rule = f"{V3}/pushrules/global/override/name"
    body = {
        "conditions": [{"kind": "contains_display_name"}],
        "actions": ["notify", {"set_tweak": "highlight"}],
    }
    (await room.bob.put(rule, body)).ok()
    await say(room.alice, room.room_id, "hello Robert")
    assert await room.counts(room.bob) == (1, 0), "there bob has no such name yet"
    await rename(room.bob, "Robert", room.room_id)
    await say(room.alice, room.room_id, "hello Robert")
    assert await room.counts(room.bob) == (2, 1)


async def test_ignored_users_do_not_notify(room: Room) -> None:
    ignoring = f"{V3}/user/{quote(room.bob.user_id)}/account_data/m.ignored_user_list"
    (await room.bob.put(ignoring, {"ignored_users": {room.alice.user_id: {}}})).ok()
    await say(room.alice, room.room_id, "one")
    await say(room.carol, room.room_id, "two")
    assert await room.counts(room.bob) == (1, 0)
    (await room.bob.put(ignoring, {"ignored_users": {}})).ok()
    await say(room.alice, room.room_id, "three")
    assert await room.counts(room.bob) == (2, 0)


async def test_threads_are_counted_apart_where_the_filter_asks_for_it(room: Room) -> None:
    root = await say(room.alice, room.room_id, "root")
    reply = await room.in_thread(room.alice, root, **{"m.mentions": {"user_ids": [room.bob.user_id]}})
    await room.in_thread(room.alice, reply, "m.reference")
    await say(room.alice, room.room_id, "main")
    assert await room.counts(room.bob) == (4, 1)
    answer = await sync(room.bob, filter=THREADS)
    assert counts(answer, room.room_id) == (2, 0)
    assert threads(answer, room.room_id) == {root: (2, 1)}
    assert threads(await sync(room.bob), room.room_id) == {}

    await room.read(room.bob, reply, thread_id=root)
    answer = await sync(room.bob, filter=THREADS)
    assert (counts(answer, room.room_id), threads(answer, room.room_id)) == ((2, 0), {root: (1, 0)})
    await room.read(room.bob, root, thread_id="main")
    answer = await sync(room.bob, filter=THREADS)
    assert (counts(answer, room.room_id), threads(answer, room.room_id)) == ((1, 0), {root: (1, 0)})
    last = await room.in_thread(room.alice, root)
    assert await room.counts(room.bob) == (3, 0)
    await room.read(room.bob, last)
    answer = await sync(room.bob, filter=THREADS)
    assert (counts(answer, room.room_id), threads(answer, room.room_id)) == ((0, 0), {})


async def test_an_answer_in_a_thread_reads_the_thread_alone(room: Room) -> None:
    root = await say(room.alice, room.room_id, "root")
    await room.in_thread(room.alice, root)
    await room.in_thread(room.bob, root)
    answer = await sync(room.bob, filter=THREADS)
    assert (counts(answer, room.room_id), threads(answer, room.room_id)) == ((1, 0), {})


async def test_a_receipt_wakes_the_other_sessions_with_the_new_count(room: Room) -> None:
    said = await say(room.alice, room.room_id, "x")
    before = await sync(room.bob)
    quiet = json.dumps({"room": {"ephemeral": {"not_types": ["*"]}}})
    waiting = asyncio.create_task(sync(room.bob, since=before["next_batch"], timeout="20000", filter=quiet))
    await asyncio.sleep(0)
    await room.read(room.bob, said)
    answer = await asyncio.wait_for(waiting, 10)
    assert counts(answer, room.room_id) == (0, 0)
    assert answer["rooms"]["join"][room.room_id]["ephemeral"]["events"] == []


async def test_a_message_and_its_count_come_together(room: Room) -> None:
    since = (await sync(room.bob))["next_batch"]
    for number in range(1, 4):
        waiting = asyncio.create_task(sync(room.bob, since=since, timeout="20000"))
        said = await say(room.alice, room.room_id, "x")
        answer = await asyncio.wait_for(waiting, 10)
        since = answer["next_batch"]
        shown = answer["rooms"]["join"][room.room_id]["timeline"]["events"]
        assert ([each["event_id"] for each in shown], counts(answer, room.room_id)) == ([said], (number, 0))
