"""SQLite and PostgreSQL behind one small interface: `open_database`, then units of work.

    rows = await database.read(lambda tx: tx.fetch("SELECT ... WHERE room_id = $1", room_id))
    await database.write(lambda tx: rooms.create(tx, room_id, ...))

Storage modules are plain `async def f(tx, ...)` functions, so that they compose within one unit of work.
"""

from __future__ import annotations

from homeserver.storage.database.interface import (
    ConstraintViolation,
    Database,
    DatabaseError,
    DatabaseSettings,
    Dialect,
    Row,
    Transaction,
    UnstorableText,
    Work,
    is_storable,
)
from homeserver.storage.database.postgresql import open_postgresql
from homeserver.storage.database.sqlite import open_sqlite

__all__ = [
    "ConstraintViolation",
    "Database",
    "DatabaseError",
    "DatabaseSettings",
    "Dialect",
    "Row",
    "Transaction",
    "UnstorableText",
    "Work",
    "is_storable",
    "open_database",
]


async def open_database(settings: DatabaseSettings) -> Database:
    """Connect to the database and bring its schema up to date.

    Raises DatabaseError, with what to do, if it cannot be reached or written, is damaged, or was made by a
    newer version of this server.
    """
    # The migrations are written in terms of this package, so they are imported when it is complete.
    from homeserver.storage import migrations

    database: Database
    if settings.name == "sqlite3":
        database = await open_sqlite(settings.args)
    elif settings.name == "psycopg2":
        database = await open_postgresql(settings.args)
    else:
        raise DatabaseError(
            f"database.name is {settings.name!r}, which is not known.",
            "Set it to sqlite3 or psycopg2 in homeserver.yaml.",
        )
    try:
        await migrations.migrate(database)
    except BaseException:
        await database.close()
        raise
    return database
