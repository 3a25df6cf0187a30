"""Receipts between servers: two of ours, and a peer that may say anything."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.canonical_json import encode_canonical
from homeserver.services.received_receipts import MAX_RECEIPTS
from tests.support.client import Client, no_news
from tests.support.federation_peer import FederationPeer, PeerRoom, until
from tests.support.whole import V3, WholeServer, create_room, join_via, membership, say, sync


async def read(client: Client, room_id: str, event_id: str, kind: str = "m.read", **body: Any) -> None:
    target = f"{V3}/rooms/{quote(room_id)}/receipt/{kind}/{quote(event_id)}"
    assert (await client.post(target, body)).ok() == {}


def receipts(answer: Any, room_id: str) -> dict[tuple[str, str | None], str]:
    """The event that has been read, by user and thread."""
    events = answer.get("rooms", {}).get("join", {}).get(room_id, {}).get("ephemeral", {}).get("events", [])
    return {
        (user_id, data.get("thread_id")): event_id
        for event in events
        for event_id, kinds in event["content"].items()
        for user_id, data in kinds["m.read"].items()
    }


async def until_shown(client: Client, since: str, room_id: str, *wanted: tuple[str, str | None]) -> Any:
    """Sync until there is a receipt of each of these users and threads; all receipts on the way."""
    found: dict[tuple[str, str | None], str] = {}
    while not set(wanted) <= set(found):
        answer = await sync(client, since, timeout=10_000)
        assert answer["next_batch"] != since, "nothing came"
        found |= receipts(answer, room_id)
        since = answer["next_batch"]
    return found


async def test_receipts_reach_the_other_server_and_come_back(whole: WholeServer, other: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    bob = await join_via(whole, other, "bob", room_id)
    event_id = await say(alice, room_id, "hello")
    since = (await sync(bob))["next_batch"]
    await read(alice, room_id, event_id, "m.read.private")
    await read(alice, room_id, event_id)
    await read(alice, room_id, event_id, thread_id="main")
    both = ((alice.user_id, None), (alice.user_id, "main"))
    assert await until_shown(bob, since, room_id, *both) == dict.fromkeys(both, event_id)
    since = (await sync(alice))["next_batch"]
    await read(bob, room_id, event_id)
    expected = {(bob.user_id, None): event_id}
    assert await until_shown(alice, since, room_id, *expected) == expected


@pytest.fixture
async def room(alice: Client, alices_room: PeerRoom) -> PeerRoom:
    """It, with something said since."""
    room_id = alices_room.room_id
    assert (await say(alice, room_id, "first")) in await _events(alice, room_id)
    return alices_room


async def _events(client: Client, room_id: str) -> list[str]:
    chunk = (await client.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b&limit=100")).ok()["chunk"]
    return [event["event_id"] for event in chunk]


def told(event_id: str, **data: Any) -> dict[str, Any]:
    return {"event_ids": [event_id], "data": {"ts": 5, **data}}


async def send(peer: FederationPeer, whole: WholeServer, *contents: Any) -> None:
    edus = [encode_canonical({"edu_type": "m.receipt", "content": content}) for content in contents]
    assert await peer.send(whole.server_name, edus=edus) == {}


async def test_what_our_users_read_is_sent(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    event_id = await say(alice, room.room_id, "one")
    root = await say(alice, room.room_id, "two")
    await read(alice, room.room_id, event_id, "m.read.private")
    await read(alice, room.room_id, event_id)
    await read(alice, room.room_id, root, thread_id="main")
    await until(lambda: len(peer.edus()) == 2)
    first, second = peer.edus()
    for edu, read_up_to, extra in ((first, event_id, {}), (second, root, {"thread_id": "main"})):
        data = edu["content"][room.room_id]["m.read"][alice.user_id].pop("data")
        assert isinstance(data.pop("ts"), int) and data == extra
        assert edu == {
            "edu_type": "m.receipt",
            "content": {room.room_id: {"m.read": {alice.user_id: {"event_ids": [read_up_to]}}}},
        }
    elsewhere = await create_room(alice)
    await read(alice, elsewhere, await say(alice, elsewhere, "of no concern to the peer"))
    await read(alice, room.room_id, event_id)
    await read(alice, room.room_id, await say(alice, room.room_id, "three"))
    await until(lambda: len(peer.edus()) == 3)
    assert list(peer.edus()[2]["content"]) == [room.room_id]


async def test_receipts_of_the_peer(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    newest, oldest = (await _events(alice, room.room_id))[0], (await _events(alice, room.room_id))[-1]
    zoe, room_id = peer.user("zoe"), room.room_id
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {room_id: {"m.read": {zoe: told(newest)}}})
    assert receipts(await sync(alice, since), room_id) == {(zoe, None): newest}
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {room_id: {"m.read": {zoe: told(oldest)}}})
    assert await sync(alice, since) == no_news(since), "never backwards"
    await send(peer, whole, {room_id: {"m.read": {zoe: told(oldest, thread_id="main")}}})
    assert receipts(await sync(alice, since), room_id) == {(zoe, "main"): oldest}


async def test_a_receipt_for_an_event_that_comes_later(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    known = (await _events(alice, room.room_id))[0]
    zoe, room_id = peer.user("zoe"), room.room_id
    late = room.say(zoe, "late")
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {room_id: {"m.read": {zoe: told(late.event_id)}}})
    assert receipts(await sync(alice, since), room_id) == {(zoe, None): late.event_id}
    assert await peer.send(whole.server_name, late) == {late.event_id: None}
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {room_id: {"m.read": {zoe: told(known)}}})
    assert await sync(alice, since) == no_news(since), "it is known by now that this is older"
    newer = room.say(zoe, "newer")
    edu = encode_canonical(
        {"edu_type": "m.receipt", "content": {room_id: {"m.read": {zoe: told(newer.event_id)}}}}
    )
    assert await peer.send(whole.server_name, newer, edus=[edu]) == {newer.event_id: None}
    assert receipts(await sync(alice, since), room_id) == {(zoe, None): newer.event_id}


async def test_what_the_peer_may_not_say(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    room_id, event_id = room.room_id, (await _events(alice, room.room_id))[0]
    elsewhere = await create_room(alice)
    other_event = await say(alice, elsewhere, "private")
    since = (await sync(alice))["next_batch"]
    zoe = peer.user("zoe")
    await send(
        peer,
        whole,
        {room_id: {"m.read": {alice.user_id: told(event_id)}}},
        {room_id: {"m.read": {peer.user("stranger"): told(event_id)}}},
        {elsewhere: {"m.read": {zoe: told(other_event)}}},
        {room_id: {"m.read": {zoe: told(other_event)}}},
        {room_id: {"m.read.private": {zoe: told(event_id)}}},
        {"!none:test": {"m.read": {zoe: told(event_id)}}},
        {room_id: {"m.read": {zoe: {"event_ids": [event_id], "data": {"ts": "now"}}}}},
        {room_id: None},
        {},
    )
    assert await sync(alice, since) == no_news(since)


async def test_the_servers_acl(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    room_id, event_id = room.room_id, (await _events(alice, room.room_id))[0]
    target = f"{V3}/rooms/{quote(room_id)}/state/m.room.server_acl/"
    host = peer.server_name.partition(":")[0]
    (await alice.put(target, {"allow": ["*"], "deny": [host]})).ok()
    open_room = await create_room(alice, room_version="10")
    await peer.join(whole.server_name, open_room, peer.user("zoe"), "10")
    opened = await say(alice, open_room, "here")
    since = (await sync(alice))["next_batch"]
    zoe = peer.user("zoe")
    content = {
        room_id: {"m.read": {zoe: told(event_id)}},
        open_room: {"m.read": {zoe: told(opened)}},
    }
    await send(peer, whole, content)
    answer = await sync(alice, since)
    assert set(answer["rooms"]["join"]) == {open_room}
    assert receipts(answer, open_room) == {(zoe, None): opened}


async def test_more_than_a_server_may_send_at_once(
    whole: WholeServer, peer: FederationPeer, alice: Client, room: PeerRoom
) -> None:
    room_id, event_id = room.room_id, (await _events(alice, room.room_id))[0]
    zoe = peer.user("zoe")
    many = {peer.user(f"u{number}"): told(event_id) for number in range(MAX_RECEIPTS)}
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {room_id: {"m.read": {**many, peer.user("zoe"): told(event_id)}}})
    assert await sync(alice, since) == no_news(since)
    await send(peer, whole, {room_id: {"m.read": {zoe: told(event_id)}}})
    assert receipts(await sync(alice, since), room_id) == {(zoe, None): event_id}


async def test_who_leaves_reads_no_more(whole: WholeServer, other: WholeServer, alice: Client) -> None:
    room_id = await create_room(alice)
    bob = await join_via(whole, other, "bob", room_id)
    carol = await join_via(whole, other, "carol", room_id)
    event_id = await say(alice, room_id, "hello")
    since = (await sync(carol))["next_batch"]
    (await membership(alice, room_id, "leave")).ok()
    assert receipts(await sync(carol, since, timeout=10_000), room_id) == {}
    await read(bob, room_id, event_id)
    await until_shown(carol, since, room_id, (bob.user_id, None))
