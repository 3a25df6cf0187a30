"""PostgreSQL: a pool of connections. Readers see a snapshot; writers are serializable, repeated on conflict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import asyncpg

from homeserver.storage.database.interface import (
    ConstraintViolation,
    DatabaseError,
    Row,
    UnstorableText,
    Work,
    check_arguments,
)
from homeserver.storage.database.sql import for_postgresql

logger = logging.getLogger(__name__)
T = TypeVar("T")

OLDEST_VERSION = 12
CONNECT_TIMEOUT_S = 10.0
WAIT_S = 20.0
"""How long a unit of work waits for its turn to have a connection."""

MAX_ATTEMPTS = 20

_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
)
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

# database.args as psycopg2 takes them, by what they are for.
_ADDRESS = ("host", "port", "user", "password")
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl")
_POOL = ("cp_min", "cp_max")


class PostgreSQLTransaction:
    """A `Transaction` on PostgreSQL."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.failure: Exception | None = None
        self.ended = False

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        rows: Sequence[Row] = await self._run(self._connection.fetch, sql, args)
        return rows

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        row: Row | None = await self._run(self._connection.fetchrow, sql, args)
        return row

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        return await self._run(self._connection.fetchval, sql, args)

    async def execute(self, sql: str, *args: Any) -> int:
        status: str = await self._run(self._connection.execute, sql, args)
        verb, _, count = status.rpartition(" ")
        return int(count) if count.isdecimal() and not verb.startswith("SELECT") else 0

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        rows = list(rows)
        if rows:
            await self._run(lambda text: self._connection.executemany(text, rows), sql, (), rows)

    async def _run(
        self,
        method: Callable[..., Awaitable[Any]],
        sql: str,
        args: tuple[Any, ...],
        rows: Sequence[Sequence[Any]] = (),
    ) -> Any:
        if self.ended:
            raise RuntimeError("The transaction has ended: it is valid only within its unit of work.")
        if self.failure is not None:
            raise DatabaseError("The transaction has failed: a statement of it has.") from self.failure
        try:
            check_arguments(args)
            for row in rows:
                check_arguments(row)
            return await method(for_postgresql(sql), *args)
        except UnstorableText as error:
            self.failure = error
            raise
        except _DRIVER_ERRORS as error:
            self.failure = error
            raise translate(error) from error


class _Again(Exception):
    """Nothing was committed, for a reason that may have passed: the unit of work can be run again."""

    def __init__(self, error: DatabaseError) -> None:
        self.error = error


class PostgreSQLDatabase:
    """A `Database` on PostgreSQL."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # Taken by a writer that is repeated after a conflict. While any has it or waits for it, others do so too
        # instead of adding to the conflicts: under contention writers go one by one, otherwise side by side.
        self._turn = asyncio.Lock()
        self._contenders = 0
        self._closed = False
        self._running = 0
        self._all_done = asyncio.Event()
        self._all_done.set()

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`. A unit that has begun ends by itself, though whoever asked for it may be gone: in the middle of a
        transaction the driver would have to reset the connection, with an error in the log."""
        reading = asyncio.ensure_future(
            self._repeat(lambda attempt: self._attempt(work, "repeatable_read", readonly=True))
        )
        # What it raises after that concerns nobody.
        reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(reading)

    async def write(self, work: Work[T]) -> T:
        """See `Database.write`."""

        async def once(attempt: int) -> T:
            if attempt == 0 and not self._contenders:
                return await self._attempt(work, "serializable", readonly=False)
            self._contenders += 1
            try:
                async with self._turn:
                    return await self._attempt(work, "serializable", readonly=False)
            finally:
                self._contenders -= 1

        return await self._repeat(once)

    async def _repeat(self, once: Callable[[int], Awaitable[T]]) -> T:
        with self._counted():
            for attempt in range(MAX_ATTEMPTS):
                try:
                    return await once(attempt)
                except _Again as again:
                    if attempt == MAX_ATTEMPTS - 1:
                        raise again.error from again.__cause__
                if attempt:
                    # Another process is in the way, or the server is not there at the moment: about 4 s in all.
                    await asyncio.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 9)))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """See `Database.close`."""
        if not self._closed:
            self._closed = True
            await self._all_done.wait()
            await self._pool.close()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Refuse a unit of work after closing; otherwise let closing wait for it."""
        if self._closed:
            raise DatabaseError("The database has been closed.", "The server is shutting down.")
        self._running += 1
        self._all_done.clear()
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._all_done.set()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection, for as long as the context lasts. Raises TimeoutError when there is none in time."""
        async with asyncio.timeout(WAIT_S):
            connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def _attempt(
        self, work: Work[T], isolation: Literal["serializable", "repeatable_read"], *, readonly: bool
    ) -> T:
        first: Exception | None = None  # what came of it can hide it: a rollback that fails too, for one
        lost = committing = False
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            async with self._connection() as connection:
                tx = PostgreSQLTransaction(connection)
                try:
                    async with connection.transaction(isolation=isolation, readonly=readonly):
                        result = await work(tx)
                        if tx.failure is not None:
                            # PostgreSQL would answer COMMIT with a silent ROLLBACK.
                            raise DatabaseError(
                                "The unit of work went on after a statement of it failed."
                            ) from tx.failure
                        committing = True
                except Exception as error:
                    first = tx.failure or error
                    raise
                finally:
                    tx.ended = True
                    lost = _is_closed(connection)
                return result
        except Exception as error:
            cause = first or error
            lost = lost or isinstance(cause, _LOST)
            if lost:
                # What ended one connection, as a restart of the server, may have ended the others.
                await self._pool.expire_connections()
            if task and task.cancelling() > cancelled:
                # The rollback failed, and its error came in the place of the cancellation.
                raise asyncio.CancelledError from error
            # Who has waited for a connection until the time-out has waited long enough.
            may_pass = lost and not committing and not isinstance(cause, TimeoutError)
            if isinstance(cause, _CONFLICTS) or may_pass:
                raise _Again(translate(cause)) from cause
            if isinstance(error, _DRIVER_ERRORS):
                raise translate(error) from error
            raise


def _is_closed(connection: asyncpg.Connection) -> bool:
    """Whether a connection that was acquired and not given back has been lost."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has let go of it, which it does as soon as it is closed
        return True


def translate(error: BaseException) -> DatabaseError:
    """The DatabaseError that says what an error of asyncpg means, when it comes from a statement."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return ConstraintViolation(f"{error}.")
    if isinstance(error, _CONFLICTS):
        return DatabaseError(
            f"PostgreSQL: {error}.",
            "Other writers were in the way each time. Try again when there is less load.",
        )
    if isinstance(error, _LOST):
        return DatabaseError(
            f"The connection to PostgreSQL was lost: {str(error) or 'no answer in time'}.",
            "See that PostgreSQL runs, and look at its log. If this was a write, it may or may not be done.",
        )
    if isinstance(error, asyncpg.InsufficientResourcesError):
        return DatabaseError(
            f"PostgreSQL: {error}.", "Free disk space or memory, or raise the limit it names."
        )
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return DatabaseError(
            f"PostgreSQL: {error}.", "If this was a write: connect to the primary, not a replica."
        )
    return DatabaseError(f"PostgreSQL: {error}.")


def _connection_error(error: BaseException, where: str, user: str) -> DatabaseError:
    """The DatabaseError for a connection that could not be made."""
    section = "database.args in homeserver.yaml"
    if isinstance(error, (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)):
        return DatabaseError(
            f"PostgreSQL at {where} refused user {user!r}: {error}.",
            f"Check user and password under {section}, and pg_hba.conf of PostgreSQL.",
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return DatabaseError(
            f"PostgreSQL at {where}: {error}.",
            "Create the database (createdb --encoding=UTF8 --template=template0 NAME), "
            f"or correct database under {section}.",
        )
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return DatabaseError(
            f"PostgreSQL at {where} has no connection left: {error}.",
            f"Lower cp_max under {section}, or raise max_connections of PostgreSQL.",
        )
    if isinstance(error, (OSError, TimeoutError)):
        detail = str(error) or f"no answer within {CONNECT_TIMEOUT_S:.0f} seconds"
        return DatabaseError(
            f"PostgreSQL at {where} cannot be reached: {detail}.",
            f"See that it runs and listens there, or correct host and port under {section}.",
        )
    return DatabaseError(f"PostgreSQL at {where} refused the connection: {error}.", f"Check {section}.")


async def _check_server(connection: asyncpg.Connection, where: str) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_VERSION:
        raise DatabaseError(
            f"PostgreSQL at {where} has version {version.major}.",
            f"Upgrade it to version {OLDEST_VERSION} or later.",
        )
    # The collation does not matter: columns are made with COLLATE "C". The encoding does.
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = await connection.fetchval("SELECT current_database()")
        raise DatabaseError(
            f"The PostgreSQL database {name} has the encoding {encoding}, in which not every text can be kept.",
            f"Create it anew: dropdb {name}; createdb --encoding=UTF8 --template=template0 {name}",
        )


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    def get_reset_query(self) -> str:
        """Nothing is set on a session, so that nothing needs a round trip to be reset."""
        return ""


def _pool_arguments(args: Mapping[str, Any]) -> dict[str, Any]:
    """What asyncpg's create_pool takes, from what psycopg2 and Twisted's pool take."""
    args = {name: value for name, value in args.items() if value is not None}
    known = {*_ADDRESS, *_TLS, *_POOL, "database", "dbname", "application_name", "connect_timeout"}
    for name in args.keys() - known:
        logger.warning("database.args.%s is not known for psycopg2 and has no effect.", name)
    found = {name: args[name] for name in _ADDRESS if name in args}
    for name in ("port", "cp_min", "cp_max"):
        if not str(args.get(name, 0)).isdecimal():
            raise DatabaseError(
                f"database.args.{name} is {args[name]!r}, which is not a number.",
                "Correct it in homeserver.yaml.",
            )
    if "port" in found:
        found["port"] = int(found["port"])
    if "password" in found:
        found["password"] = str(found["password"])
    database = args.get("database", args.get("dbname"))
    if database is not None:
        found["database"] = database
    tls = {name: args[name] for name in _TLS if name in args}
    if tls:
        found["dsn"] = "postgresql://?" + urlencode(tls)
    largest = max(1, int(args.get("cp_max", 10)))
    return {
        **found,
        "timeout": float(args.get("connect_timeout", CONNECT_TIMEOUT_S)),
        "min_size": min(int(args.get("cp_min", 1)), largest),
        "max_size": largest,
        "connection_class": _Connection,
        "statement_cache_size": 512,
        "server_settings": {
            "application_name": str(args.get("application_name", "homeserver")),
            "jit": "off",
        },
    }


async def open_postgresql(args: Mapping[str, Any]) -> PostgreSQLDatabase:
    """Connect to the database that `args` names, as psycopg2 would. Raises DatabaseError."""
    arguments = _pool_arguments(args)
    where = f"{arguments.get('host', 'the default socket')}:{arguments.get('port', 5432)}"
    pool: asyncpg.Pool | None = None
    try:
        pool = await asyncpg.create_pool(**arguments)
        async with pool.acquire() as connection:
            await _check_server(connection, where)
    except DatabaseError:
        if pool is not None:
            await pool.close()
        raise
    except (*_DRIVER_ERRORS, ValueError) as error:
        if pool is not None:
            pool.terminate()
        raise _connection_error(error, where, str(arguments.get("user", "(default)"))) from error
    return PostgreSQLDatabase(pool)
