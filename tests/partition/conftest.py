"""Three servers of ours, over HTTPS on loopback, with links that can be cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.links import Links


@dataclass(frozen=True)
class Network:
    """Some servers and the links between them."""

    servers: list[FederatingServer]
    links: Links


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Three servers, all links up."""
    authority = Authority(tmp_path)
    servers = [FederatingServer(authority, tmp_path, number=number) for number in (101, 102, 103)]
    links = Links(server.server_name for server in servers)
    async with AsyncExitStack() as stack:
        for server in servers:
            server.middlewares.append(links.middleware(server.server_name))
            await stack.enter_async_context(server)
        stack.callback(links.heal)
        yield Network(servers, links)
