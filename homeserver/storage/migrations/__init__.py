"""The schema, as numbered steps that only go forward.

A step is a module `NNNN_name.py` here with a `DESCRIPTION` and either `STATEMENTS: tuple[str, ...]` or
`async def migrate(tx)`. Each is applied once, in a transaction that also records it. An applied step is never
edited: a change of the schema is a new step.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, DatabaseError, Transaction

logger = logging.getLogger(__name__)

_MODULE_NAME = re.compile(r"(\d{4})_(\w+)\Z")

# Any number will do.
_ADVISORY_LOCK = 7_310_012_605


@dataclass(frozen=True)
class Migration:
    """One step: its number and name, what it is for, and what to run."""

    number: int
    name: str
    description: str
    apply: Callable[[Transaction], Awaitable[None]]


def _from_module(name: str) -> Migration:
    match = _MODULE_NAME.match(name)
    assert match is not None
    module = importlib.import_module(f"{__name__}.{name}")
    statements: Sequence[str] | None = getattr(module, "STATEMENTS", None)
    apply: Callable[[Transaction], Awaitable[None]] | None = getattr(module, "migrate", None)
    if (statements is None) == (apply is None):
        raise TypeError(f"Migration {name} must have either STATEMENTS or migrate(tx)")
    if statements is not None:
        texts = statements

        async def run(tx: Transaction) -> None:
            for text in texts:
                await tx.execute(text)

        apply = run
    assert apply is not None
    return Migration(int(match[1]), match[2], module.DESCRIPTION, apply)


def all_migrations() -> list[Migration]:
    """The steps of this version of the server, in their order."""
    names = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if _MODULE_NAME.match(module.name)
    )
    found = [_from_module(name) for name in names]
    numbers = [migration.number for migration in found]
    if len(set(numbers)) != len(numbers):
        raise TypeError(f"Two migrations have the same number: {names}")
    return found


async def _create_table(tx: Transaction) -> None:
    if tx.dialect == "postgresql":
        # Two processes that create a table at once are in each other's way, IF NOT EXISTS or not.
        await tx.execute(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    await tx.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        "number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL,"
        " description TEXT NOT NULL, applied_ts BIGINT NOT NULL)"
    )


async def _applied(tx: Transaction) -> dict[int, str]:
    rows = await tx.fetch("SELECT number, name FROM schema_migrations ORDER BY number")
    return {row["number"]: row["name"] for row in rows}


def _refuse_newer(applied: dict[int, str], known: Sequence[Migration]) -> None:
    unknown = sorted(applied.keys() - {migration.number for migration in known})
    if unknown:
        names = ", ".join(f"{number:04} {applied[number]}" for number in unknown)
        raise DatabaseError(
            "The database was made by a newer version of this server: it has schema changes that this "
            f"version does not know ({names}).",
            "Install that version or a later one, or restore a backup made by this version. "
            "Going back to an older schema is not possible.",
        )


async def migrate(database: Database, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply the steps that `database` lacks, each in its own transaction; return those applied.

    Raises DatabaseError if the database has steps that are not known, and leaves it as it was.
    """
    migrations = all_migrations() if known is None else known
    await database.write(_create_table)
    applied = await database.read(_applied)
    _refuse_newer(applied, migrations)
    done: list[Migration] = []
    for migration in migrations:
        if migration.number in applied:
            continue

        async def step(tx: Transaction, migration: Migration = migration) -> bool:
            if tx.dialect == "postgresql":
                # Before anything is read, so that what another process did meanwhile is seen.
                await tx.execute("LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
            if migration.number in await _applied(tx):  # another process was faster
                return False
            await migration.apply(tx)
            await tx.execute(
                "INSERT INTO schema_migrations (number, name, description, applied_ts)"
                " VALUES ($1, $2, $3, $4)",
                migration.number,
                migration.name,
                migration.description,
                int(time.time() * 1000),
            )
            return True

        if await database.write(step):
            # What a new database gets is no news to anybody.
            level = logging.INFO if applied else logging.DEBUG
            logger.log(
                level, "Database schema: %04d %s: %s", migration.number, migration.name, migration.description
            )
            done.append(migration)
    if done and not applied:
        logger.info("Database schema: a new database, made in %d steps", len(done))
    return done
