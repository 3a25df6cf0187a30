"""This server and a scripted peer, over HTTPS on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer


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
