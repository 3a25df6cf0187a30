"""Storage tests are contract tests: each runs on SQLite and on PostgreSQL, with a fresh database."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homeserver.storage.database import Database, open_database
from tests.support.postgresql import PostgreSQLServer
from tests.support.postgresql import postgresql as postgresql


@dataclass(frozen=True)
class Settings:
    """The database section of a homeserver.yaml."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


_numbers = itertools.count()
_TEMPLATE = "template_migrated"


@pytest.fixture(scope="session")
def templates() -> set[str]:
    """The PostgreSQL databases that have been made as templates."""
    return set()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_settings(
    request: pytest.FixtureRequest, tmp_path: Path, templates: set[str]
) -> AsyncIterator[Settings]:
    """The settings of a database that has the schema and nothing else."""
    if request.param == "sqlite":
        yield Settings("sqlite3", {"database": str(tmp_path / "homeserver.db")})
        return
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    if _TEMPLATE not in templates:
        await server.execute(f"CREATE DATABASE {_TEMPLATE}")
        await (await open_database(Settings("psycopg2", server.arguments(_TEMPLATE)))).close()
        templates.add(_TEMPLATE)
    name = f"test_{next(_numbers)}"
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    try:
        yield Settings("psycopg2", server.arguments(name))
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_settings: Settings) -> AsyncIterator[Database]:
    """A database with the schema and nothing else."""
    opened = await open_database(database_settings)
    try:
        yield opened
    finally:
        await opened.close()
