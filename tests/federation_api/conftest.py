"""This server and a scripted peer, over HTTPS on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.certificates import authority as authority
from tests.support.client import Client
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, PeerRoom
from tests.support.federation_peer import peer as peer
from tests.support.push_gateway import gateway as gateway
from tests.support.whole import WholeServer, create_room, faultless


@pytest.fixture
async def ours(authority: Authority, tmp_path: Path) -> AsyncIterator[FederatingServer]:
    """This server."""
    async with FederatingServer(authority, tmp_path) as server:
        yield server


@pytest.fixture
async def room(ours: FederatingServer, peer: FederationPeer) -> PeerRoom:
    """A room of the peer that @bob of ours is in."""
    made = peer.room("10")
    await ours.joins.join(ours.user("bob"), made.room_id, [peer.server_name], {})
    return made


@pytest.fixture
async def whole(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """This server, whole."""
    async with faultless(WholeServer(authority, tmp_path, None)) as server:
        yield server


@pytest.fixture
async def other(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """Another of the same kind."""
    async with WholeServer(authority, tmp_path, None, number=151) as server:
        yield server


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    """A user of the whole server."""
    return await whole.register("alice")


@pytest.fixture
async def alices_room(whole: WholeServer, peer: FederationPeer, alice: Client) -> PeerRoom:
    """A room of Alice that @zoe of the peer has joined."""
    room_id = await create_room(alice, room_version="10")
    return await peer.join(whole.server_name, room_id, peer.user("zoe"), "10")
