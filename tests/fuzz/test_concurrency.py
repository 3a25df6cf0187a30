"""Many requests at once, and clients that hang up: every answer is true, and the database is sound afterwards."""

from __future__ import annotations

import asyncio
import random
import re
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, history, membership, say, send_path

MANY = 100


async def events_of(client: Client, room_id: str, event_type: str) -> list[str]:
    """The IDs of a room's events of a type."""
    return [event["event_id"] for event in await history(client, room_id) if event["type"] == event_type]


async def test_the_same_transaction_id_many_times_is_one_event(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    room_id = await create_room(alice)
    path = send_path(room_id, "the-same", "org.example")
    answers = await asyncio.gather(
        *(alice.put(path, {"msgtype": "m.text", "body": "once"}) for _ in range(MANY))
    )
    (event_id,) = {answer.ok()["event_id"] for answer in answers}
    assert await events_of(alice, room_id, "org.example") == [event_id]


async def test_the_same_transaction_id_on_two_devices_is_two_events(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "a password",
    }
    answer = (await ours.client.post(f"{V3}/login", login)).ok()
    other = alice.with_token(answer["access_token"], alice.user_id, answer["device_id"])
    room_id = await create_room(alice)
    path = send_path(room_id, "the-same", "org.example")
    answers = await asyncio.gather(*(who.put(path, {}) for who in (alice, other) for _ in range(10)))
    assert len({answer.ok()["event_id"] for answer in answers}) == 2
    assert len(await events_of(alice, room_id, "org.example")) == 2


async def test_many_senders_at_once(ours: WholeServer) -> None:
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    sent = await asyncio.gather(
        *(say(who, room_id, str(n)) for n in range(MANY // 2) for who in (alice, bob))
    )
    assert len(set(sent)) == MANY
    assert set(await events_of(alice, room_id, "m.room.message")) == set(sent)


async def test_joining_and_leaving_at_once(ours: WholeServer) -> None:
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room_id = await create_room(alice)
    answers = await asyncio.gather(
        *(membership(bob, room_id, what) for _ in range(25) for what in ("join", "leave"))
    )
    for answer in answers:
        # Who is not in the room cannot leave it, if the leave happens to come first.
        assert answer.status == 200 or answer.refused(403, "M_FORBIDDEN")
    (await membership(bob, room_id, "join")).ok()
    members = (await alice.get(f"{V3}/rooms/{quote(room_id)}/joined_members")).ok()["joined"]
    assert set(members) == {alice.user_id, bob.user_id}


async def test_the_same_join_at_once_is_one_event(ours: WholeServer) -> None:
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room_id = await create_room(alice)
    for answer in await asyncio.gather(*(membership(bob, room_id, "join") for _ in range(50))):
        assert answer.ok() == {"room_id": room_id}
    joins = [
        event["event_id"]
        for event in await history(alice, room_id)
        if event["type"] == "m.room.member" and event["state_key"] == bob.user_id
    ]
    assert len(joins) == 1


async def test_state_set_by_two_at_once(ours: WholeServer) -> None:
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room_id = await create_room(alice, power_level_content_override={"users_default": 100})
    (await membership(bob, room_id, "join")).ok()
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.topic/"
    answers = await asyncio.gather(
        *(who.put(path, {"topic": f"{n} of {who.user_id}"}) for n in range(25) for who in (alice, bob))
    )
    ids = {answer.ok()["event_id"] for answer in answers}
    assert len(ids) == 50 and ids <= set(await events_of(alice, room_id, "m.room.topic"))
    topic = (await alice.get(path)).ok()["topic"]
    assert (await bob.get(path)).ok()["topic"] == topic
    newest = next(event for event in await history(alice, room_id) if event["type"] == "m.room.topic")
    assert newest["content"]["topic"] == topic


async def test_who_takes_the_power_last_has_it(ours: WholeServer) -> None:
    """Two who demote each other at once: one of them is too late."""
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room_id = await create_room(alice, room_version="11", invite=[bob.user_id], preset="trusted_private_chat")
    (await membership(bob, room_id, "join")).ok()
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.power_levels/"
    levels = (await alice.get(path)).ok()
    kicks = [
        who.post(f"{V3}/rooms/{quote(room_id)}/kick", {"user_id": whom.user_id})
        for who, whom in ((alice, bob), (bob, alice))
    ]
    demotions = [who.put(path, {**levels, "users": {who.user_id: 100}}) for who in (alice, bob)]
    for answer in await asyncio.gather(*demotions, *kicks):
        assert answer.status == 200 or answer.refused(403, "M_FORBIDDEN")


async def test_one_of_many_rooms_gets_the_alias(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    body = {"preset": "public_chat", "room_alias_name": "lobby"}
    answers = await asyncio.gather(*(alice.post(f"{V3}/createRoom", body) for _ in range(30)))
    (winner,) = [answer for answer in answers if answer.status == 200]
    for answer in answers:
        if answer is not winner:
            answer.refused(400, "M_ROOM_IN_USE")
    alias = quote(f"#lobby:{ours.server_name}", safe="")
    assert (await alice.get(f"{V3}/directory/room/{alias}")).ok()["room_id"] == winner.body["room_id"]
    # Those that did not get it have left nothing behind.
    assert (await alice.get(f"{V3}/joined_rooms")).ok() == {"joined_rooms": [winner.body["room_id"]]}
    assert (await ours.row_counts())["rooms"] == 1


async def test_one_of_many_gets_the_user_name(ours: WholeServer) -> None:
    body = {"username": "alice", "password": "a password", "auth": {"type": "m.login.dummy"}}
    answers = await asyncio.gather(*(ours.client.post(f"{V3}/register", body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 9
    for answer in answers:
        if answer.status != 200:
            answer.refused(400, "M_USER_IN_USE")


async def test_clients_that_hang_up(ours: WholeServer) -> None:
    """What was begun is done as a whole or not at all, and the next request is answered."""
    alice = await ours.register("alice")
    room_id = await create_room(alice)
    host, port = re.fullmatch(r"http://(.+):(\d+)", ours.base_url).groups()  # type: ignore[union-attr]
    chance = random.Random(1)
    requests = [
        ("PUT", send_path(room_id), b'{"body":"hello","msgtype":"m.text"}'),
        ("POST", f"{V3}/createRoom", b'{"preset":"public_chat","name":"a room"}'),
        ("PUT", f"{V3}/rooms/{quote(room_id)}/state/m.room.topic/", b'{"topic":"x"}'),
        ("GET", f"{V3}/sync?timeout=30000&since=s1", b""),
    ]

    async def hang_up(method: str, target: str, body: bytes) -> None:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.access_token}\r\n"
        message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(message[: chance.choice((len(message), chance.randrange(1, len(message))))])
        await writer.drain()
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()

    for _ in range(10):
        await asyncio.gather(*(hang_up(*chance.choice(requests)) for _ in range(20)))
    assert await say(alice, room_id, "still here") in await events_of(alice, room_id, "m.room.message")
    joined = (await alice.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
    for each in joined:
        # A room is there with its name, or not at all.
        state = (await alice.get(f"{V3}/rooms/{quote(each)}/state")).ok()
        assert each == room_id or any(event["type"] == "m.room.name" for event in state)


@pytest.mark.parametrize("target", ["/sync?timeout=99999999999999999999", "/sync?timeout=1e400"])
async def test_a_sync_that_would_wait_for_ever(ours: WholeServer, target: str) -> None:
    alice = await ours.register("alice")
    room_id = await create_room(alice)
    since = (await alice.get(f"{V3}/sync")).ok()["next_batch"]
    waiting = asyncio.create_task(alice.get(f"{V3}{target}&since={since}"))
    await say(alice, room_id, "news")
    async with asyncio.timeout(10):
        answer = await waiting
    assert answer.status == 200 or answer.refused(400, "M_INVALID_PARAM")
