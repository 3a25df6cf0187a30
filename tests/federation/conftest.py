"""Fixtures of the federation tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.federation.world import World
from tests.support.certificates import Authority
from tests.support.dns import DNSServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A small internet on loopback."""
    async with DNSServer() as dns:
        world = World(tmp_path, dns, Authority(tmp_path))
        yield world
        await world.close()
