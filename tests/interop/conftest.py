"""The servers that tests share: starting a Synapse takes longer than most tests do.

Tests that use them run on the session's event loop: `pytestmark = pytest.mark.asyncio(loop_scope="session")`.
"""

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.network import Network, network, running
from tests.support.our_server import OurServer
from tests.support.person import Person
from tests.support.postgresql import PostgreSQLServer
from tests.support.postgresql import postgresql as postgresql
from tests.support.synapse import Synapse

_numbers = itertools.count(1)


async def newcomer(server: Synapse | OurServer, name: str) -> Person:
    """A new user of a server that other tests use too."""
    return await server.register(f"{name}{next(_numbers)}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_network() -> AsyncIterator[Network]:
    """The network in which the shared servers are."""
    async with network() as net:
        yield net


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_servers(shared_network: Network) -> AsyncIterator[tuple[Synapse, OurServer]]:
    """A Synapse called matrix.org, and ours.test on SQLite."""
    servers = Synapse(shared_network, "matrix.org"), OurServer(shared_network, "ours.test")
    async with running(*servers):
        yield servers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_on_postgresql(
    shared_network: Network, postgresql: PostgreSQLServer
) -> AsyncIterator[OurServer]:
    """Our server once more, on PostgreSQL: postgres.test."""
    await postgresql.execute("CREATE DATABASE homeserver")
    database = {"name": "psycopg2", "args": postgresql.arguments("homeserver")}
    async with OurServer(shared_network, "postgres.test", {"database": database}) as server:
        yield server


@pytest.fixture
def matrix_org(shared_servers: tuple[Synapse, OurServer]) -> Synapse:
    """The Synapse."""
    return shared_servers[0]


@pytest.fixture
def ours(request: pytest.FixtureRequest, shared_servers: tuple[Synapse, OurServer]) -> Iterator[OurServer]:
    """Our server: on SQLite, or as `indirect` parameters say. It must not complain during the test."""
    if getattr(request, "param", "sqlite") == "postgresql":
        server: OurServer = request.getfixturevalue("shared_on_postgresql")
    else:
        server = shared_servers[1]
    before = len(server.log())
    yield server
    print(server.log()[before:])  # pytest shows it when the test has failed
    complaints = server.complaints(before)
    assert not complaints, "\n".join(complaints)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(matrix_org: Synapse) -> Person:
    """A new user of the Synapse."""
    return await newcomer(matrix_org, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(ours: OurServer) -> Person:
    """A new user of ours."""
    return await newcomer(ours, "bob")
