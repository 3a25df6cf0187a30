"""Presence between servers: two of ours, and a peer that may say anything."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.canonical_json import encode_canonical
from homeserver.services import presence_tracker, received_presence
from homeserver.services.received_presence import MAX_USERS
from tests.support.client import Client, no_news
from tests.support.federation_peer import FederationPeer, PeerRoom, until
from tests.support.whole import V3, WholeServer, create_room, join_via, membership, say, sync


async def put(client: Client, presence: str, **more: Any) -> None:
    target = f"{V3}/presence/{quote(client.user_id)}/status"
    assert (await client.put(target, {"presence": presence, **more})).ok() == {}


async def until_shown(client: Client, since: str, user_id: str, presence: str) -> tuple[str, dict[str, Any]]:
    """Sync until a user's presence is shown to be this; the token then, and the content."""
    while True:
        answer = await sync(client, since, timeout=10_000)
        assert answer["next_batch"] != since, "nothing came"
        since = answer["next_batch"]
        for event in answer.get("presence", {}).get("events", []):
            if event["sender"] == user_id and event["content"]["presence"] == presence:
                return since, event["content"]


async def test_presence_reaches_the_other_server_and_comes_back(
    whole: WholeServer, other: WholeServer
) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    await put(alice, "online", status_msg="before")
    bob = await join_via(whole, other, "bob", room_id)
    since = (await sync(bob))["next_batch"]
    await put(alice, "unavailable", status_msg="at lunch")
    since, content = await until_shown(bob, since, alice.user_id, "unavailable")
    assert content.pop("last_active_ago") < 60_000
    assert content == {"presence": "unavailable", "status_msg": "at lunch"}
    own = (await sync(alice))["next_batch"]
    await put(bob, "online")
    await until_shown(alice, own, bob.user_id, "online")
    target = f"{V3}/presence/{quote(bob.user_id)}/status"
    found = (await alice.get(target)).ok()
    assert (found["presence"], found["currently_active"]) == ("online", True)
    await put(alice, "offline")
    await until_shown(bob, since, alice.user_id, "offline")


async def test_who_joins_is_introduced(whole: WholeServer, other: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await other.register("bob")
    room_id = await create_room(alice)
    for client in (alice, bob):
        await put(client, "unavailable", status_msg=client.user_id)
    theirs, ours = (await sync(bob))["next_batch"], (await sync(alice))["next_batch"]
    (await bob.post(f"{V3}/join/{quote(room_id)}?server_name={whole.server_name}")).ok()
    # Having joined is an activity.
    await until_shown(alice, ours, bob.user_id, "online")
    await until_shown(bob, theirs, alice.user_id, "unavailable")


def told(peer: FederationPeer) -> list[dict[str, Any]]:
    """What the peer was told of presence."""
    return [each for edu in peer.edus() if edu["edu_type"] == "m.presence" for each in edu["content"]["push"]]


async def test_what_our_users_do_is_sent(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    stranger = await whole.register("stranger")
    await put(stranger, "online")
    await put(alice, "online", status_msg="here")
    await until(lambda: told(peer))
    (first,) = told(peer)
    assert 0 <= first.pop("last_active_ago") < 60_000
    assert first == {
        "user_id": alice.user_id,
        "presence": "online",
        "status_msg": "here",
        "currently_active": True,
    }
    await put(alice, "online", status_msg="here")
    await say(alice, alices_room.room_id, "no change")
    await put(alice, "offline")
    await until(lambda: told(peer)[-1]["presence"] == "offline")
    assert len(told(peer)) == 2


async def test_who_is_there_is_told_to_a_server_that_joins(
    whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    await put(alice, "unavailable")
    room_id = await create_room(alice, room_version="10")
    await say(alice, room_id, "hello")
    await peer.join(whole.server_name, room_id, peer.user("zoe"), "10")
    await until(lambda: told(peer))
    assert told(peer)[-1]["user_id"] == alice.user_id


async def test_servers_are_told_again_in_time(
    peer: FederationPeer, alice: Client, alices_room: PeerRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_tracker, "REPEAT_MS", 50)
    await put(alice, "unavailable")
    await until(lambda: len(told(peer)) >= 3)
    assert {each["presence"] for each in told(peer)} == {"unavailable"}


async def send(peer: FederationPeer, whole: WholeServer, *contents: Any) -> None:
    edus = [encode_canonical({"edu_type": "m.presence", "content": content}) for content in contents]
    assert await peer.send(whole.server_name, edus=edus) == {}


async def test_users_of_the_peer(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    since = (await sync(alice))["next_batch"]
    zoe = {"user_id": peer.user("zoe"), "presence": "online", "last_active_ago": 5_000}
    await send(peer, whole, {"push": [zoe | {"currently_active": True, "status_msg": "from afar"}]})
    since, content = await until_shown(alice, since, peer.user("zoe"), "online")
    assert 5_000 <= content.pop("last_active_ago") < 60_000
    assert content == {"presence": "online", "currently_active": True, "status_msg": "from afar"}
    await send(peer, whole, {"push": [zoe | {"currently_active": True, "status_msg": "from afar"}]})
    assert await sync(alice, since) == no_news(since), "nothing new"
    await send(peer, whole, {"push": [zoe | {"presence": "offline"}]})
    await until_shown(alice, since, peer.user("zoe"), "offline")


async def test_who_is_not_heard_of_is_offline(
    whole: WholeServer,
    peer: FederationPeer,
    alice: Client,
    alices_room: PeerRoom,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(received_presence, "SILENCE_MS", 50)
    monkeypatch.setattr(received_presence, "SWEEP_S", 0.02)
    since = (await sync(alice))["next_batch"]
    zoe = {"user_id": peer.user("zoe"), "presence": "online", "last_active_ago": 0, "status_msg": "x"}
    await send(peer, whole, {"push": [zoe]})
    since, _ = await until_shown(alice, since, peer.user("zoe"), "online")
    _, content = await until_shown(alice, since, peer.user("zoe"), "offline")
    assert content["status_msg"] == "x"


async def test_what_the_peer_may_not_say(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    since = (await sync(alice))["next_batch"]
    zoe = {"user_id": peer.user("zoe"), "presence": "online", "last_active_ago": 0}
    many = [zoe | {"user_id": peer.user(f"u{number}")} for number in range(MAX_USERS)]
    await send(
        peer,
        whole,
        {"push": [zoe | {"user_id": alice.user_id}]},
        {"push": [zoe | {"user_id": peer.user("stranger")}]},
        {"push": [zoe | {"presence": "busy"}, None, []]},
        {"push": [*many, zoe]},
        {"push": zoe},
        {},
    )
    assert await sync(alice, since) == no_news(since)
    assert (await whole.row_counts())["presence"] == 0


async def test_who_is_told_of_before_the_room_is_here(
    whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    room = peer.room("10")
    zoe = {"user_id": peer.user("alice"), "presence": "online", "last_active_ago": 0}
    since = (await sync(alice))["next_batch"]
    await send(peer, whole, {"push": [zoe]})
    assert await sync(alice, since) == no_news(since)
    (await alice.post(f"{V3}/join/{quote(room.room_id)}?server_name={peer.server_name}")).ok()
    await until_shown(alice, since, peer.user("alice"), "online")


async def test_who_shares_a_room_no_more(
    whole: WholeServer, peer: FederationPeer, alice: Client, alices_room: PeerRoom
) -> None:
    (await membership(alice, alices_room.room_id, "leave")).ok()
    await until(lambda: peer.received())
    await put(alice, "online")
    zoe = {"user_id": peer.user("zoe"), "presence": "online", "last_active_ago": 0}
    await send(peer, whole, {"push": [zoe]})
    target = f"{V3}/presence/{quote(peer.user('zoe'))}/status"
    (await alice.get(target)).refused(403, "M_FORBIDDEN")
    assert told(peer) == []
