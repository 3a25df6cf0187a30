"""This server and a scripted peer, over HTTPS on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer
from tests.support.push_gateway import gateway as gateway
from tests.support.whole import WholeServer, complaints


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that both trust."""
    return Authority(tmp_path)


@pytest.fixture
async def ours(authority: Authority, tmp_path: Path) -> AsyncIterator[FederatingServer]:
    """This server."""
    async with FederatingServer(authority, tmp_path) as server:
        yield server


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[FederationPeer]:
    """Another server."""
    async with FederationPeer(authority) as server:
        yield server


@pytest.fixture
async def whole(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """This server, whole."""
    with complaints() as logged:
        async with WholeServer(authority, tmp_path, None) as server:
            yield server
            assert await server.violations() == []
    assert logged == []


@pytest.fixture
async def other(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """Another of the same kind."""
    async with WholeServer(authority, tmp_path, None, number=151) as server:
        yield server


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    """A user of the whole server."""
    return await whole.register("alice")
