"""The server that clients drive: a process of its own for each test, which must not complain."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.network import network
from tests.support.our_server import OurServer
from tests.support.postgresql import PostgreSQLServer
from tests.support.postgresql import postgresql as postgresql

BOTH_DATABASES = pytest.mark.parametrize("ours", ["sqlite", "postgresql"], indirect=True)
_numbers = itertools.count(1)


@pytest.fixture
async def ours(request: pytest.FixtureRequest) -> AsyncIterator[OurServer]:
    """Our server, on SQLite unless the test runs on BOTH_DATABASES."""
    config: dict[str, Any] = {"refreshable_access_token_lifetime": "5s"}  # of those who ask for it
    if getattr(request, "param", "sqlite") == "postgresql":
        databases: PostgreSQLServer = request.getfixturevalue("postgresql")
        name = f"homeserver_{next(_numbers)}"
        await databases.execute(f"CREATE DATABASE {name}")
        config["database"] = {"name": "psycopg2", "args": databases.arguments(name)}
    async with network() as net, OurServer(net, "ours.test", config) as server:
        yield server
        complaints = server.complaints()
        assert not complaints, "\n".join(complaints)
