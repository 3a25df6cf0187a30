"""A server that is gone for good: what it signed verifies by what a notary remembers of its keys, or by what we do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from homeserver.storage import server_keys
from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.federation_peer import FederationPeer
from tests.support.whole import V3, WholeServer, history, join_via, say


@pytest.fixture
async def notary(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """A server that others trust for keys."""
    async with WholeServer(authority, tmp_path, None, number=160) as server:
        yield server


async def join(client: Client, room_id: str, via: str) -> Answer:
    """Join a room through a server."""
    return await client.post(f"{V3}/join/{quote(room_id)}?via={via}")


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_a_room_of_a_vanished_server_is_joined_with_keys_of_a_notary(
    authority: Authority, peer: FederationPeer, notary: WholeServer, tmp_path: Path, version: str
) -> None:
    room = peer.room(version)
    said = room.say(peer.user("alice"), "before I go")
    bob = await notary.register("bob")
    (await join(bob, room.room_id, peer.server_name)).ok()
    await history(bob, room.room_id)
    await peer.stop()
    trusting = {"trusted_key_servers": [{"server_name": notary.server_name}]}
    async with WholeServer(authority, tmp_path, None, number=161, more=trusting) as ours:
        alice = await join_via(notary, ours, "alice", room.room_id)
        shown = [event["event_id"] for event in await history(alice, room.room_id)]
        assert said.event_id in shown and len(shown) == len(set(shown))
        await say(alice, room.room_id, "still talking")
        async with ours.database() as database:  # and what the notary told is kept
            kept = await database.read(lambda tx: server_keys.load(tx, [peer.server_name]))
    assert set(kept) == {peer.server_name}


async def test_without_a_notary_it_cannot_be_verified_and_the_error_says_so(
    authority: Authority, peer: FederationPeer, notary: WholeServer, tmp_path: Path
) -> None:
    room = peer.room("10")
    bob = await notary.register("bob")
    (await join(bob, room.room_id, peer.server_name)).ok()
    await peer.stop()
    async with WholeServer(authority, tmp_path, None, number=161) as ours:
        alice = await ours.register("alice")
        told = (await join(alice, room.room_id, notary.server_name)).refused(502, "M_UNKNOWN")["error"]
        assert "m.room.create" in told
