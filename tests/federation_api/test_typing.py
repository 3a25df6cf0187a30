"""Typing notifications between servers: two of ours, and a peer that may say anything."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.canonical_json import encode_canonical
from homeserver.services import received_typing
from homeserver.services import typing as own_typing
from tests.support.client import Client, no_news
from tests.support.federation_peer import FederationPeer, PeerRoom, until
from tests.support.whole import V3, WholeServer, create_room, join_via, say, sync


async def types(client: Client, room_id: str, typing: bool = True, **more: Any) -> None:
    target = f"{V3}/rooms/{quote(room_id)}/typing/{quote(client.user_id)}"
    assert (await client.put(target, {"typing": typing, **more})).ok() == {}


async def until_typing(client: Client, since: str, room_id: str, *users: str) -> str:
    """Sync until just these users are typing; the token then."""
    while True:
        answer = await sync(client, since, timeout=10_000)
        assert answer["next_batch"] != since, "nothing came"
        since = answer["next_batch"]
        joined = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        for event in joined.get("ephemeral", {}).get("events", []):
            if event["content"]["user_ids"] == list(users):
                return since


async def test_typing_reaches_the_other_server_and_comes_back(whole: WholeServer, other: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    bob = await join_via(whole, other, "bob", room_id)
    since = (await sync(bob))["next_batch"]
    await types(alice, room_id)
    since = await until_typing(bob, since, room_id, alice.user_id)
    await types(alice, room_id, False)
    await until_typing(bob, since, room_id)
    since = (await sync(alice))["next_batch"]
    await types(bob, room_id, timeout=100)
    since = await until_typing(alice, since, room_id, bob.user_id)
    await until_typing(alice, since, room_id)


def told(peer: FederationPeer) -> list[dict[str, Any]]:
    """What the peer was told of typing."""
    return [edu["content"] for edu in peer.edus() if edu["edu_type"] == "m.typing"]


async def test_what_our_users_do_is_sent(peer: FederationPeer, alice: Client, alices_room: PeerRoom) -> None:
    elsewhere = await create_room(alice)
    await types(alice, elsewhere)
    await types(alice, alices_room.room_id)
    await until(lambda: told(peer))
    await types(alice, alices_room.room_id)
    await types(alice, alices_room.room_id, False)
    await types(alice, alices_room.room_id, False)
    await until(lambda: len(told(peer)) > 1)
    await types(alice, alices_room.room_id, timeout=20)
    await until(lambda: len(told(peer)) > 2 and told(peer)[-1]["typing"] is False)
    said = {"room_id": alices_room.room_id, "user_id": alice.user_id}
    assert told(peer)[:2] == [said | {"typing": True}, said | {"typing": False}]
    assert all(content | {"typing": True} == said | {"typing": True} for content in told(peer))


async def test_it_is_repeated_as_long_as_it_lasts(
    peer: FederationPeer, alice: Client, alices_room: PeerRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_typing, "REPEAT_S", 0.02)
    await types(alice, alices_room.room_id)
    await until(lambda: len(told(peer)) >= 3)
    await types(alice, alices_room.room_id, False)
    await until(lambda: told(peer)[-1]["typing"] is False)
    count = len(told(peer))
    await say(alice, alices_room.room_id, "to see that nothing else is sent")
    await until(lambda: peer.received())
    assert len(told(peer)) == count


async def send(peer: FederationPeer, whole: WholeServer, *contents: Any) -> None:
    edus = [encode_canonical({"edu_type": "m.typing", "content": content}) for content in contents]
    assert await peer.send(whole.server_name, edus=edus) == {}


async def test_users_of_the_peer(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    since = (await sync(alice))["next_batch"]
    zoe = {"room_id": alices_room.room_id, "user_id": peer.user("zoe")}
    await send(peer, whole, zoe | {"typing": True})
    since = await until_typing(alice, since, alices_room.room_id, peer.user("zoe"))
    await send(peer, whole, zoe | {"typing": True})
    assert await sync(alice, since) == no_news(since)
    await send(peer, whole, zoe | {"typing": False})
    await until_typing(alice, since, alices_room.room_id)


async def test_who_is_not_heard_of_has_stopped(
    whole: WholeServer,
    peer: FederationPeer,
    alice: Client,
    alices_room: PeerRoom,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(received_typing, "TIMEOUT_MS", 50)
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {"room_id": alices_room.room_id, "user_id": peer.user("zoe"), "typing": True})
    monkeypatch.setattr(received_typing, "TIMEOUT_MS", 60_000)
    since = await until_typing(alice, since, alices_room.room_id, peer.user("zoe"))
    await until_typing(alice, since, alices_room.room_id)


async def test_what_the_peer_may_not_say(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    elsewhere = await create_room(alice)
    since = (await sync(alice))["next_batch"]
    zoe = {"room_id": alices_room.room_id, "user_id": peer.user("zoe"), "typing": True}
    await send(
        peer,
        whole,
        zoe | {"user_id": alice.user_id},
        zoe | {"user_id": peer.user("stranger")},
        zoe | {"user_id": "zoe"},
        zoe | {"room_id": elsewhere},
        zoe | {"room_id": "!none:test"},
        zoe | {"room_id": "\0"},
        zoe | {"room_id": None},
        zoe | {"typing": "yes"},
        {},
    )
    assert await sync(alice, since) == no_news(since)
    await types(alice, alices_room.room_id)
    since = await until_typing(alice, since, alices_room.room_id, alice.user_id)
    await send(peer, whole, zoe | {"user_id": alice.user_id, "typing": False})
    assert await sync(alice, since) == no_news(since)


async def test_the_servers_acl(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    target = f"{V3}/rooms/{quote(alices_room.room_id)}/state/m.room.server_acl/"
    host = peer.server_name.partition(":")[0]
    (await alice.put(target, {"allow": ["*"], "deny": [host]})).ok()
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {"room_id": alices_room.room_id, "user_id": peer.user("zoe"), "typing": True})
    assert await sync(alice, since) == no_news(since)
