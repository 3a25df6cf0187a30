"""The whole server and a scripted peer, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.federation_peer import FederationPeer
from tests.support.whole import WholeServer, complaints


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that both trust."""
    return Authority(tmp_path)


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[FederationPeer]:
    """Another server."""
    async with FederationPeer(authority) as server:
        yield server


@pytest.fixture
async def ours(authority: Authority, peer: FederationPeer, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """This server. It must not log an error, and its database must be sound in the end."""
    with complaints() as logged:
        async with WholeServer(authority, tmp_path, (peer.server_name,)) as server:
            yield server
            assert await server.violations() == []
    assert logged == []


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged as an error or with a traceback."""
    with complaints() as records:
        yield records
