"""What is PostgreSQL's own: repeated units of work, lost connections, and what can be wrong with the settings."""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from homeserver.storage.database import DatabaseError, Transaction, open_database
from homeserver.storage.database import postgresql as postgresql_module
from homeserver.storage.database.postgresql import PostgreSQLDatabase, open_postgresql
from tests.storage.conftest import Settings
from tests.support.postgresql import WITH_PASSWORD, PostgreSQLServer


@pytest.fixture
async def database(postgresql: PostgreSQLServer) -> AsyncIterator[PostgreSQLDatabase]:
    """A database with a table of counters."""
    await postgresql.execute("CREATE DATABASE own")
    opened = await open_postgresql(postgresql.arguments("own"))
    await opened.write(lambda tx: tx.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, number BIGINT)"))
    await opened.write(lambda tx: tx.execute("INSERT INTO counters VALUES ('a', 0), ('b', 0)"))
    yield opened
    await opened.close()
    await postgresql.execute("DROP DATABASE own WITH (FORCE)")


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """Not pytest's directory: the path of a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="hs-pg-") as name:
        yield Path(name)


async def increment(tx: Transaction, name: str) -> int:
    """Read a counter, then write it raised by one."""
    number = int(await tx.fetch_value("SELECT number FROM counters WHERE name = $1", name))
    await tx.execute("UPDATE counters SET number = $1 WHERE name = $2", number + 1, name)
    return number + 1


async def test_a_conflict_is_repeated(database: PostgreSQLDatabase) -> None:
    attempts = 0

    async def work(tx: Transaction) -> int:
        nonlocal attempts
        attempts += 1
        await tx.fetch("SELECT number FROM counters")
        if attempts == 1:
            await database.write(lambda other: increment(other, "a"))
        return await increment(tx, "a")

    assert await database.write(work) == 2
    assert attempts == 2


async def test_a_conflict_that_the_unit_swallowed_is_repeated(database: PostgreSQLDatabase) -> None:
    attempts = 0

    async def work(tx: Transaction) -> str:
        nonlocal attempts
        attempts += 1
        await tx.fetch("SELECT number FROM counters")
        if attempts == 1:
            await database.write(lambda other: increment(other, "a"))
        try:
            await increment(tx, "a")
        except DatabaseError:
            return "swallowed"
        return "done"

    assert await database.write(work) == "done"


async def test_a_deadlock_is_repeated(database: PostgreSQLDatabase) -> None:
    attempts = {"a": 0, "b": 0}
    both = asyncio.Barrier(2)

    async def work(tx: Transaction, first: str, second: str) -> None:
        attempts[first] += 1
        await increment(tx, first)
        if attempts[first] == 1:
            await both.wait()
        await increment(tx, second)

    await asyncio.gather(
        database.write(lambda tx: work(tx, "a", "b")), database.write(lambda tx: work(tx, "b", "a"))
    )
    rows = await database.read(lambda tx: tx.fetch("SELECT number FROM counters"))
    assert [row[0] for row in rows] == [2, 2]
    assert sum(attempts.values()) > 2


async def test_a_conflict_that_does_not_end_is_told(database: PostgreSQLDatabase) -> None:
    async def work(tx: Transaction) -> None:
        await tx.fetch("SELECT number FROM counters")
        await database._attempt(lambda other: increment(other, "a"), "serializable", readonly=False)
        await increment(tx, "a")

    with pytest.raises(DatabaseError, match="could not serialize"):
        await database.write(work)


async def test_idle_connections_that_were_lost_are_replaced(
    database: PostgreSQLDatabase, postgresql: PostgreSQLServer
) -> None:
    await asyncio.gather(*(database.read(lambda tx: tx.fetch("SELECT 1")) for _ in range(20)))
    for unit in (database.read, database.write):
        await postgresql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'own'",
        )
        await unit(lambda tx: tx.fetch("SELECT number FROM counters"))


async def test_a_unit_whose_connection_is_lost_is_repeated(
    database: PostgreSQLDatabase, postgresql: PostgreSQLServer
) -> None:
    attempts = 0

    async def work(tx: Transaction) -> int:
        nonlocal attempts
        attempts += 1
        number = await increment(tx, "a")
        if attempts == 1:
            process = await tx.fetch_value("SELECT pg_backend_pid()")
            await postgresql.execute(f"SELECT pg_terminate_backend({process}, 5000)")
            await tx.fetch("SELECT 1")
        return number

    assert await database.write(work) == 1
    assert attempts == 2


async def test_a_writer_that_is_cancelled_while_its_connection_is_lost_stays_cancelled(
    database: PostgreSQLDatabase, postgresql: PostgreSQLServer
) -> None:
    attempts = 0
    lost = asyncio.Event()

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await increment(tx, "a")
        if attempts == 1:
            process = await tx.fetch_value("SELECT pg_backend_pid()")
            await postgresql.execute(f"SELECT pg_terminate_backend({process}, 5000)")
            lost.set()
            await asyncio.Event().wait()

    writing = asyncio.create_task(database.write(work))
    await lost.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert attempts == 1


async def test_a_reader_who_goes_away_is_no_error_in_the_log(
    database: PostgreSQLDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(tx: Transaction) -> None:
        begun.set()
        await tx.fetch_value("SELECT pg_sleep(0.2)")
        ended.set()

    reading = asyncio.create_task(database.read(work))
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await ended.wait()
    assert await database.write(lambda tx: increment(tx, "a")) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_server_that_does_not_answer_any_more_is_told_and_comes_back(
    postgresql: PostgreSQLServer, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ".s.PGSQL.5432"
    place, real = short_directory / name, Path(postgresql.socket_directory) / name
    place.symlink_to(real)
    arguments = {**postgresql.arguments("postgres"), "host": str(short_directory), "connect_timeout": 0.5}
    database = await open_postgresql(arguments)
    place.unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place))
        silent.listen()
        await database._pool.expire_connections()
        async with asyncio.timeout(5):  # far less than twenty times as long as a connection is waited for
            with pytest.raises(DatabaseError, match="no answer in time"):
                await database.write(lambda tx: tx.fetch("SELECT 1"))
        monkeypatch.setattr(postgresql_module, "WAIT_S", 0.7)
        many = [database.read(lambda tx: tx.fetch("SELECT 1")) for _ in range(200)]
        async with asyncio.timeout(5):  # far less than they would take one after the other
            outcomes = await asyncio.gather(*many, return_exceptions=True)
        assert all("no answer in time" in str(outcome) for outcome in outcomes)
    place.unlink()
    place.symlink_to(real)
    assert await database.read(lambda tx: tx.fetch_value("SELECT 1")) == 1
    await database.close()


async def test_a_wrong_argument_is_not_taken_for_a_lost_connection(database: PostgreSQLDatabase) -> None:
    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.fetch("SELECT name FROM counters WHERE number = $1", "text")

    with pytest.raises(DatabaseError, match="invalid input"):
        await database.write(work)
    assert attempts == 1


async def test_the_databases_collation_does_not_matter(postgresql: PostgreSQLServer) -> None:
    await postgresql.execute(
        "CREATE DATABASE collated TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
    )
    database = await open_database(Settings("psycopg2", postgresql.arguments("collated")))

    async def work(tx: Transaction) -> list[str]:
        await tx.execute("CREATE TABLE sorted (name TEXT NOT NULL, other TEXT DEFAULT 'TEXT')")
        await tx.execute("INSERT INTO sorted VALUES ('a'), ('B'), ('_'), ('ä')")
        return [row[0] for row in await tx.fetch("SELECT name FROM sorted ORDER BY name")]

    assert await database.write(work) == ["B", "_", "a", "ä"]
    await database.close()


# Opening ------------------------------------------------------------------------------------------------------


async def refusal(args: dict[str, object]) -> DatabaseError:
    """Why the database cannot be opened."""
    with pytest.raises(DatabaseError) as raised:
        await open_database(Settings("psycopg2", args))
    assert raised.value.remedy
    return raised.value


async def test_a_wrong_password_is_told(postgresql: PostgreSQLServer) -> None:
    await postgresql.execute(f"CREATE ROLE {WITH_PASSWORD} LOGIN PASSWORD 'right'")
    arguments = {**postgresql.arguments("postgres"), "user": WITH_PASSWORD}
    error = await refusal({**arguments, "password": "wrong"})
    assert "refused user 'with_password'" in error.cause
    assert "password" in error.remedy
    await (await open_postgresql({**arguments, "password": "right"})).close()


async def test_an_unknown_role_is_told(postgresql: PostgreSQLServer) -> None:
    error = await refusal({**postgresql.arguments("postgres"), "user": "nobody_here"})
    assert "nobody_here" in error.cause


async def test_a_missing_database_is_told(postgresql: PostgreSQLServer) -> None:
    error = await refusal(postgresql.arguments("nowhere"))
    assert '"nowhere" does not exist' in error.cause
    assert "createdb" in error.remedy


async def test_a_server_that_is_not_there_is_told(tmp_path: object) -> None:
    error = await refusal({"host": str(tmp_path), "user": "a", "database": "b"})
    assert "cannot be reached" in error.cause
    error = await refusal({"host": "127.0.0.1", "port": 1, "user": "a", "database": "b"})
    assert "127.0.0.1:1 cannot be reached" in error.cause


async def test_another_encoding_is_refused(postgresql: PostgreSQLServer) -> None:
    await postgresql.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'")
    error = await refusal(postgresql.arguments("ascii"))
    assert "encoding SQL_ASCII" in error.cause
    assert "--encoding=UTF8" in error.remedy


@pytest.mark.parametrize(
    ("name", "value"), [("port", "x"), ("cp_max", -1), ("cp_min", None), ("sslmode", "maybe")]
)
async def test_wrong_arguments_are_told(postgresql: PostgreSQLServer, name: str, value: object) -> None:
    arguments = {**postgresql.arguments("postgres"), name: value}
    if value is None:  # as an empty key in YAML: its default
        await (await open_postgresql(arguments)).close()
    else:
        assert name in str(await refusal(arguments))


async def test_arguments_are_psycopg2s(
    postgresql: PostgreSQLServer, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = postgresql.arguments("postgres")
    del arguments["database"]
    known = {
        "dbname": "postgres",
        "port": "5432",
        "sslmode": "prefer",
        "cp_min": 2,
        "cp_max": 3,
        "keepalives_idle": 10,
    }
    with caplog.at_level(logging.WARNING):
        database = await open_postgresql({**arguments, **known})
    assert await database.read(lambda tx: tx.fetch_value("SELECT current_database()")) == "postgres"
    await database.close()
    assert [record.getMessage() for record in caplog.records] == [
        "database.args.keepalives_idle is not known for psycopg2 and has no effect."
    ]
