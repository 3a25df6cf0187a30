"""Fixtures of the federation tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.federation.transport import FederationClient
from tests.federation.remote_support import NAME
from tests.federation.world import Peer, World
from tests.support.certificates import Authority
from tests.support.dns import DNSServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A small internet on loopback."""
    async with DNSServer() as dns:
        world = World(tmp_path, dns, Authority(tmp_path))
        yield world
        await world.close()


@pytest.fixture
async def peer(world: World) -> Peer:
    """The server a.example:8001."""
    host, _, port = NAME.partition(":")
    world.dns.add(host, "A", world.address(1))
    return await world.peer(host, port=int(port))


@pytest.fixture
async def client(world: World, peer: Peer) -> FederationClient:
    """Ours."""
    return world.client()
