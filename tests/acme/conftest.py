"""A real ACME server, and what is needed beside it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.authority import CertificateAuthority
from tests.support.dns import DNSServer
from tests.support.pebble import Pebble


@pytest.fixture
async def dns() -> AsyncIterator[DNSServer]:
    """A DNS server without any names."""
    async with DNSServer() as server:
        yield server


@pytest.fixture
async def pebble(tmp_path: Path, dns: DNSServer) -> AsyncIterator[Pebble]:
    """The ACME server, which finds `ours.example` and `also.example`."""
    async with Pebble(CertificateAuthority(tmp_path / "authority"), tmp_path, dns) as server:
        for name in ("ours.example", "also.example"):
            dns.add(name, "A", server.host)
        yield server
