"""What is SQLite's own: shared commits, its file, its failures."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.storage.database import ConstraintViolation, DatabaseError, Transaction, open_database, sqlite
from homeserver.storage.database.sql import for_sqlite
from homeserver.storage.database.sqlite import SQLiteDatabase
from tests.storage.conftest import Settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "homeserver.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SQLiteDatabase]:
    """A database with the tables `parent` and `child`."""
    opened = await open_database(Settings("sqlite3", {"database": str(path)}))
    assert isinstance(opened, SQLiteDatabase)
    await opened.write(lambda tx: tx.execute("CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)"))
    await opened.write(
        lambda tx: tx.execute(
            "CREATE TABLE child (parent BIGINT NOT NULL REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
        )
    )
    yield opened
    await opened.close()


async def count(database: SQLiteDatabase, table: str) -> int:
    """The number of rows of a table."""
    return int(await database.read(lambda tx: tx.fetch_value(f"SELECT count(*) FROM {table}")))


async def open_at(path: Path) -> None:
    """Open and close the database."""
    await (await open_database(Settings("sqlite3", {"database": str(path)}))).close()


async def test_concurrent_writers_share_commits(database: SQLiteDatabase) -> None:
    statements: list[str] = []
    await database._writer.set_trace_callback(statements.append)
    await asyncio.gather(
        *(
            database.write(lambda tx, n=n: tx.execute("INSERT INTO parent VALUES ($1)", n))  # type: ignore[misc]
            for n in range(200)
        )
    )
    assert statements.count("COMMIT") < 20
    assert await count(database, "parent") == 200


async def test_closing_waits_for_readers_that_wait_for_a_connection(path: Path) -> None:
    database = await open_database(Settings("sqlite3", {"database": str(path)}))

    async def slowly(tx: Transaction) -> Any:
        time.sleep(0.02)  # noqa: ASYNC251 -- in the database's thread
        return await tx.fetch_value("SELECT 1")

    reading = [asyncio.create_task(database.read(slowly)) for _ in range(4 * sqlite.READERS)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*reading) == [1] * 4 * sqlite.READERS


async def test_a_failing_commit_fails_the_batch_and_nothing_after(database: SQLiteDatabase) -> None:
    """A deferred constraint is only checked at the commit."""
    done = await asyncio.gather(
        database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (1)")),
        database.write(lambda tx: tx.execute("INSERT INTO child VALUES (99)")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in done] == [ConstraintViolation, ConstraintViolation]
    assert await count(database, "parent") == await count(database, "child") == 0
    assert await database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (1)")) == 1


async def test_a_lost_transaction_fails_what_was_in_it_and_nothing_after(database: SQLiteDatabase) -> None:
    """A full disk ends a transaction in the same way as this does."""
    done = await asyncio.gather(
        database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (1)")),
        database.write(lambda tx: tx.execute("ROLLBACK")),
        database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (3)")),
        return_exceptions=True,
    )
    assert isinstance(done[0], DatabaseError)
    assert "undone" in done[0].cause
    assert isinstance(done[1], DatabaseError)
    assert done[2] == 1
    assert await count(database, "parent") == 1


async def test_a_full_disk_is_told(database: SQLiteDatabase) -> None:
    await database.write(lambda tx: tx.execute("CREATE TABLE big (data BYTEA)"))
    pages = await database.read(lambda tx: tx.fetch_value("PRAGMA page_count"))
    await database.write(lambda tx: tx.execute(f"PRAGMA max_page_count = {pages + 5}"))
    with pytest.raises(DatabaseError, match="disk is full") as raised:
        await database.write(lambda tx: tx.execute("INSERT INTO big VALUES ($1)", b"x" * 1_000_000))
    assert "Free some space" in raised.value.remedy
    assert await database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (1)")) == 1


class FailingDisk:
    """A connection whose statements of these kinds fail, as on a disk that fails."""

    def __init__(self, connection: sqlite3.Connection, failing: set[str]) -> None:
        self._connection = connection
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        if statement in self._failing:
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *args)


async def test_a_disk_that_fails_to_undo_is_told_and_nobody_waits_for_ever(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, raw = {"COMMIT", "ROLLBACK"}, sqlite._raw
    monkeypatch.setattr(sqlite, "_raw", lambda connection: FailingDisk(raw(connection), failing))
    for _ in range(sqlite.READERS + 1):
        with pytest.raises(DatabaseError, match="I/O error"):
            await database.read(lambda tx: tx.fetch("SELECT * FROM parent"))
    for _ in range(2):
        async with asyncio.timeout(20):
            done = await asyncio.gather(
                *(
                    database.write(lambda tx, n=n: tx.execute("INSERT INTO parent VALUES ($1)", n))  # type: ignore[misc]
                    for n in range(3)
                ),
                return_exceptions=True,
            )
        assert all("I/O error" in str(outcome) for outcome in done), done
    failing.clear()
    assert await database.write(lambda tx: tx.execute("INSERT INTO parent VALUES (2)")) == 1
    assert [await count(database, "parent") for _ in range(sqlite.READERS + 1)] == [1] * (sqlite.READERS + 1)


async def test_a_unit_that_awaits_something_else_is_refused(database: SQLiteDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("INSERT INTO parent VALUES (1)")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited something other"):
        await database.write(work)
    assert await count(database, "parent") == 0


async def test_what_was_written_survives_the_death_of_the_process(
    database: SQLiteDatabase, path: Path
) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from homeserver.storage.database.sqlite import open_sqlite\n"
        "async def main():\n"
        "    database = await open_sqlite({'database': sys.argv[1]})\n"
        "    await database.write(lambda tx: tx.execute('INSERT INTO parent VALUES (7)'))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(lambda: subprocess.run([sys.executable, "-c", script, path], check=False))
    assert done.returncode == -9
    assert await count(database, "parent") == 1


async def test_the_file_is_for_its_owner_alone(database: SQLiteDatabase, path: Path) -> None:
    for file in (path, path.with_name(path.name + "-wal")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_how_it_is_kept(database: SQLiteDatabase) -> None:
    """Durable, and so that space can be given back to the file system."""
    found = [
        await database.write(lambda tx, name=name: tx.fetch_value(f"PRAGMA {name}"))  # type: ignore[misc]
        for name in ("journal_mode", "synchronous", "auto_vacuum")
    ]
    assert found == ["wal", 2, 2]


async def test_an_old_sqlite_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "OLDEST_VERSION", (99, 0, 0))
    with pytest.raises(DatabaseError, match="too old"):
        await open_at(path)


async def test_foreign_keys_are_enforced(database: SQLiteDatabase) -> None:
    with pytest.raises(ConstraintViolation):
        await database.write(lambda tx: tx.execute("INSERT INTO child VALUES (1)"))


async def test_any_uses_an_index(database: SQLiteDatabase) -> None:
    sql = "SELECT encoding FROM state_nodes WHERE digest = ANY($1)"
    plan = await database.read(lambda tx: tx.fetch(f"EXPLAIN QUERY PLAN {sql}", [b"x"]))
    assert plan[0]["detail"].startswith("SEARCH state_nodes USING INDEX")


async def test_a_list_where_none_belongs_is_refused(database: SQLiteDatabase) -> None:
    for sql, argument in (("SELECT 1 WHERE 1 = $1", [1]), ("SELECT 1 WHERE 1 = ANY($1)", 1)):
        with pytest.raises(DatabaseError):
            await database.read(lambda tx, sql=sql, argument=argument: tx.fetch(sql, argument))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        ("SELECT '$1', \"$2\", $3 -- $4", "SELECT '$1', \"$2\", ?3 -- $4"),
        ("SELECT 'it''s = ANY($1)' /* $2 */", "SELECT 'it''s = ANY($1)' /* $2 */"),
        ("SELECT $12::text, $1::double precision", "SELECT ?12, ?1"),
        ("CREATE TABLE t (b BYTEA)", "CREATE TABLE t (b BLOB)"),
        ("SELECT least FROM t WHERE greatest = 1", "SELECT least FROM t WHERE greatest = 1"),
    ],
)
def test_texts_and_comments_are_not_rewritten(written: str, rewritten: str) -> None:
    assert for_sqlite(written).text == rewritten


# Opening ------------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Overwrite what follows the header of the file."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)


async def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="does not exist") as raised:
        await open_at(tmp_path / "none" / "homeserver.db")
    assert f"mkdir -p {tmp_path / 'none'}" in raised.value.remedy


async def test_a_path_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened for writing") as raised:
        await open_at(tmp_path)
    assert "read and write" in raised.value.remedy


async def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"server_name: example.org\n" * 500)
    with pytest.raises(DatabaseError, match="not a database") as raised:
        await open_at(path)
    assert "database.args.database" in raised.value.remedy


async def test_a_damaged_file_is_told(path: Path) -> None:
    await open_at(path)
    damage(path)
    with pytest.raises(DatabaseError, match="malformed") as raised:
        await open_at(path)
    assert "restore a backup" in raised.value.remedy


@pytest.mark.parametrize("args", [{}, {"database": ":memory:"}, {"database": 5}])
async def test_a_wrong_path_is_told(args: dict[str, object]) -> None:
    with pytest.raises(DatabaseError, match=r"database\.args\.database"):
        await open_database(Settings("sqlite3", args))


async def test_a_lock_of_another_process_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.01)
    await open_at(path)
    opened = await open_database(Settings("sqlite3", {"database": str(path)}))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="locked") as raised:
        await opened.write(lambda tx: tx.execute("DELETE FROM state_nodes"))
    assert "Another process" in raised.value.remedy
    other.close()
    await opened.write(lambda tx: tx.execute("DELETE FROM state_nodes"))
    await opened.close()


async def test_unknown_arguments_are_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await (
            await open_database(Settings("sqlite3", {"database": str(path), "cp_max": 1, "hots": "x"}))
        ).close()
    assert [record.getMessage() for record in caplog.records] == [
        "database.args.hots is not known for sqlite3 and has no effect."
    ]
