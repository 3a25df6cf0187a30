"""The whole server and a scripted peer, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.certificates import authority as authority
from tests.support.federation_peer import FederationPeer
from tests.support.federation_peer import peer as peer
from tests.support.whole import WholeServer, complaints, faultless


@pytest.fixture
async def ours(authority: Authority, peer: FederationPeer, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """This server. It must not log an error, and its database must be sound in the end."""
    async with faultless(WholeServer(authority, tmp_path, (peer.server_name,))) as server:
        yield server


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged as an error or with a traceback."""
    with complaints() as records:
        yield records
