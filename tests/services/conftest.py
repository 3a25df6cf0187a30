"""Room services on a fresh database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.storage.conftest import database, database_settings, postgresql, templates
from tests.support.rooms import RoomServices, open_sqlite

__all__ = ["database", "database_settings", "postgresql", "services", "templates"]


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[RoomServices]:
    """The services of one server."""
    database = await open_sqlite(tmp_path / "homeserver.db")
    try:
        yield RoomServices(database)
    finally:
        await database.close()
