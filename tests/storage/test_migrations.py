"""The schema's steps: applied once, in order, whole or not at all; a newer database is refused."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.storage.database import Database, DatabaseError, Transaction, open_database
from homeserver.storage.migrations import Migration, all_migrations, migrate
from tests.storage.conftest import Settings


async def applied(database: Database) -> list[int]:
    """The numbers of the steps that the database has."""
    rows = await database.read(lambda tx: tx.fetch("SELECT number FROM schema_migrations ORDER BY number"))
    return [row[0] for row in rows]


def step(number: int, *statements: str) -> Migration:
    """A step that runs these statements."""

    async def apply(tx: Transaction) -> None:
        for statement in statements:
            await tx.execute(statement)

    return Migration(number, f"step_{number}", "a step of a test", apply)


def test_steps_are_numbered_and_described() -> None:
    known = all_migrations()
    numbers = [migration.number for migration in known]
    assert numbers[0] == 1 and numbers == sorted(set(numbers))
    assert all(migration.description.strip() for migration in known)


async def test_a_new_database_has_every_step(database: Database) -> None:
    assert await applied(database) == [migration.number for migration in all_migrations()]
    row = await database.read(lambda tx: tx.fetch_one("SELECT * FROM schema_migrations WHERE number = 2"))
    assert row is not None
    assert row["name"] == "state"
    assert row["description"].startswith("Nodes of the rooms' state maps")
    assert row["applied_ts"] > 1_600_000_000_000


async def test_steps_are_applied_once_and_in_order(database: Database) -> None:
    steps = [
        *all_migrations(),
        step(9001, "CREATE TABLE one (id BIGINT)"),
        step(9002, "ALTER TABLE one ADD COLUMN name TEXT", "INSERT INTO one VALUES (1, 'a')"),
    ]
    assert [migration.number for migration in await migrate(database, steps)] == [9001, 9002]
    assert await migrate(database, steps) == []
    assert await database.read(lambda tx: tx.fetch_value("SELECT count(*) FROM one")) == 1


async def test_a_failing_step_leaves_nothing_and_stops(database: Database) -> None:
    steps = [
        *all_migrations(),
        step(9001, "CREATE TABLE one (id BIGINT)"),
        step(9002, "CREATE TABLE two (id BIGINT)", "INSERT INTO nowhere VALUES (1)"),
        step(9003, "CREATE TABLE three (id BIGINT)"),
    ]
    with pytest.raises(DatabaseError, match="nowhere"):
        await migrate(database, steps)
    assert (await applied(database))[-1] == 9001
    for table in ("two", "three"):
        with pytest.raises(DatabaseError):
            await database.read(lambda tx, table=table: tx.fetch(f"SELECT * FROM {table}"))  # type: ignore[misc]
    steps[-2] = step(9002, "CREATE TABLE two (id BIGINT)")
    assert [migration.number for migration in await migrate(database, steps)] == [9002, 9003]


async def test_a_newer_database_is_refused_and_untouched(database_settings: Settings) -> None:
    newer = await open_database(database_settings)
    await migrate(newer, [*all_migrations(), step(9001, "CREATE TABLE one (id BIGINT)")])
    await newer.close()
    with pytest.raises(DatabaseError, match="newer version") as raised:
        await open_database(database_settings)
    assert "9001 step_9001" in raised.value.cause
    assert "restore a backup" in raised.value.remedy


async def test_two_processes_can_migrate_at_once(database: Database, database_settings: Settings) -> None:
    other = await open_database(database_settings)
    steps = [*all_migrations(), *(step(9000 + n, f"CREATE TABLE t{n} (id BIGINT)") for n in range(1, 6))]
    done = await asyncio.gather(migrate(database, steps), migrate(other, steps))
    assert sorted(migration.number for part in done for migration in part) == [9001, 9002, 9003, 9004, 9005]
    await other.close()
