"""SQLite: one writer connection that commits for many writers at once, and a few reader connections.

Every connection has a thread. A unit of work is driven to its end inside it: one hop per unit, not one per
statement.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import aiosqlite

from homeserver.storage.database.interface import (
    ConstraintViolation,
    DatabaseError,
    Row,
    UnstorableText,
    Work,
    check_arguments,
)
from homeserver.storage.database.sql import for_sqlite, list_arguments

logger = logging.getLogger(__name__)
T = TypeVar("T")

READERS = 3
BUSY_TIMEOUT_S = 10
OLDEST_VERSION = (3, 38, 0)  # json_each() built in; RETURNING is older
# A batch is committed after this many units or this much time, so that the first one does not wait for ever.
MAX_BATCH_UNITS = 512
MAX_BATCH_S = 0.05

# What a person can do about an error, by SQLite's name of it (its first two words).
_REMEDIES = {
    "SQLITE_CANTOPEN": "Check that the path is that of a file the server's user may read and write.",
    "SQLITE_READONLY": "Make the file and its directory writable for the server's user.",
    "SQLITE_PERM": "Make the file and its directory writable for the server's user.",
    "SQLITE_NOTADB": "The file is not an SQLite database. Check database.args.database in homeserver.yaml.",
    "SQLITE_CORRUPT": "The file is damaged. Stop the server, keep a copy, and restore a backup (or try "
    "`sqlite3 FILE .recover`).",
    "SQLITE_BUSY": "Another process holds the database. Stop it, then try again.",
    "SQLITE_FULL": "The disk is full. Free some space.",
    "SQLITE_IOERR": "The disk failed. Look at the system's log; check the disk and its free space.",
}


class SQLiteTransaction:
    """A `Transaction` on SQLite. Its methods never suspend."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self.failure: Exception | None = None
        self.ended = False

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        return self._run(lambda: self._cursor(sql, args).fetchall())

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        rows = self._run(lambda: self._cursor(sql, args).fetchmany(1))
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        rows = self._run(lambda: self._cursor(sql, args).fetchmany(1))
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *args: Any) -> int:
        def count() -> int:
            before = self._connection.total_changes
            cursor = self._cursor(sql, args)
            cursor.fetchall()
            # sqlite3 counts no rows for statements that begin with WITH.
            return cursor.rowcount if cursor.rowcount >= 0 else self._connection.total_changes - before

        return self._run(count)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        rows = list(rows)
        for row in rows:
            check_arguments(row)
        self._run(lambda: self._connection.executemany(for_sqlite(sql).text, rows).close())

    def _cursor(self, sql: str, args: tuple[Any, ...]) -> sqlite3.Cursor:
        check_arguments(args)
        statement = for_sqlite(sql)
        return self._connection.execute(
            statement.text, list_arguments(statement, args) if statement.lists else args
        )

    def _run(self, action: Callable[[], T]) -> T:
        if self.ended:
            raise RuntimeError("The transaction has ended: it is valid only within its unit of work.")
        if self.failure is not None:
            raise DatabaseError("The transaction has failed: a statement of it has.") from self.failure
        try:
            return action()
        except UnstorableText as error:
            self.failure = error
            raise
        except (sqlite3.Error, OverflowError, TypeError) as error:
            self.failure = error
            raise translate(error, self._path) from error


class _Unit:
    """A unit of work waiting for the writer, and who waits for it."""

    __slots__ = ("error", "future", "value", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.value: Any = None
        self.error: BaseException | None = None

    def resolve(self) -> None:
        """Tell the waiting caller, unless it has gone."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class SQLiteDatabase:
    """A `Database` on SQLite. Writers that come while a commit is under way share the next one."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str, writer: aiosqlite.Connection, readers: list[aiosqlite.Connection]) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers
        self._idle: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._idle.put_nowait(reader)
        self._queue: deque[_Unit] = deque()  # appended to on the event loop, emptied in the writer's thread
        self._committing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`."""
        self._check_open()
        reader = await self._idle.get()
        try:
            result = await _in_thread(reader, lambda: self._run_read(reader, work))
        except asyncio.CancelledError:
            # The thread is still at work: the connection is free when what comes after it has been done.
            task = asyncio.create_task(self._release_when_idle(reader))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
            raise
        except BaseException:
            self._idle.put_nowait(reader)
            raise
        self._idle.put_nowait(reader)
        return result

    async def write(self, work: Work[T]) -> T:
        """See `Database.write`."""
        self._check_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Unit(work, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_batches())
        return await future

    async def close(self) -> None:
        """See `Database.close`."""
        if self._closed:
            return
        self._closed = True
        while self._committing is not None:
            await asyncio.wait([self._committing])
        for _ in self._readers:  # those who wait for one come first
            reader = await self._idle.get()
            await reader.close()
        await _in_thread(self._writer, lambda: _optimize(_raw(self._writer)))
        await self._writer.close()

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseError("The database has been closed.", "The server is shutting down.")

    async def _release_when_idle(self, reader: aiosqlite.Connection) -> None:
        await _in_thread(reader, lambda: None)
        self._idle.put_nowait(reader)

    def _run_read(self, reader: aiosqlite.Connection, work: Work[T]) -> T:
        connection = _raw(reader)
        try:
            _begin(connection, "BEGIN")
            try:
                return _drive(work, SQLiteTransaction(connection, self._path))
            finally:
                _undo(connection)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    async def _commit_batches(self) -> None:
        try:
            while self._queue:
                # Let every caller that was just woken hand in its next unit first.
                await asyncio.sleep(0)
                for unit in await _in_thread(self._writer, self._run_batch):
                    unit.resolve()
        finally:
            # Reached with units left only when this task is cancelled, because the event loop ends.
            for unit in self._queue:
                unit.future.cancel()
            self._queue.clear()
            self._committing = None

    def _run_batch(self) -> list[_Unit]:
        """Run the waiting units, each in its savepoint, and commit them together, in the writer's thread."""
        connection = _raw(self._writer)
        batch: list[_Unit] = []
        try:
            _begin(connection, "BEGIN IMMEDIATE")
            deadline = time.monotonic() + MAX_BATCH_S
            while self._queue and len(batch) < MAX_BATCH_UNITS and (not batch or time.monotonic() < deadline):
                unit = self._queue.popleft()
                if unit.future.cancelled():
                    continue
                batch.append(unit)
                self._run_unit(connection, unit)
                if not connection.in_transaction:
                    # Some failures (disk full, IO error) undo the transaction, the earlier units with it.
                    raise DatabaseError(
                        "The transaction was undone, with all units of work that shared it.",
                        "The first of them to fail says why.",
                    )
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - it is handed to every caller of the batch
            # The callers are told of the first error; what begins next undoes this.
            with suppress(sqlite3.Error):
                _undo(connection)
            if not batch:  # not even begun: whoever waits is told
                batch.extend(self._queue.popleft() for _ in range(len(self._queue)))
            for unit in batch:
                if unit.error is None:
                    unit.error = translate(error, self._path)
                    unit.error.__cause__ = error if error is not unit.error else None
        return batch

    def _run_unit(self, connection: sqlite3.Connection, unit: _Unit) -> None:
        connection.execute("SAVEPOINT unit")
        try:
            unit.value = _drive(unit.work, SQLiteTransaction(connection, self._path))
        except BaseException as error:  # noqa: BLE001 - it is handed to the caller
            unit.error = error
            if connection.in_transaction:
                connection.execute("ROLLBACK TO unit")
        if connection.in_transaction:
            connection.execute("RELEASE unit")


def _begin(connection: sqlite3.Connection, statement: str) -> None:
    """Begin a transaction, after undoing one that could not be undone when it failed."""
    _undo(connection)
    connection.execute(statement)


def _undo(connection: sqlite3.Connection) -> None:
    """Undo the transaction, if there is one."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _drive(work: Work[T], tx: SQLiteTransaction) -> T:
    """Run a unit of work to its end in this thread."""
    steps = work(tx).__await__()
    try:
        next(steps)
    except StopIteration as end:
        if tx.failure is not None:
            raise DatabaseError("The unit of work went on after a statement of it failed.") from tx.failure
        result: T = end.value
        return result
    finally:
        tx.ended = True
        close = getattr(steps, "close", None)
        if close is not None:
            close()
    raise RuntimeError("A unit of work awaited something other than the methods of its transaction.")


async def _in_thread(connection: aiosqlite.Connection, action: Callable[[], T]) -> T:
    """Run `action` in the connection's thread. aiosqlite has this only for its own use."""
    result: T = await connection._execute(action)  # type: ignore[no-untyped-call]
    return result


def _raw(connection: aiosqlite.Connection) -> sqlite3.Connection:
    """The connection itself, for use in its thread."""
    return connection._conn


def translate(error: BaseException, path: str) -> DatabaseError:
    """The DatabaseError that says what an error of sqlite3 means."""
    if isinstance(error, DatabaseError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        return ConstraintViolation(f"{error}.")
    name = getattr(error, "sqlite_errorname", "") or ""
    remedy = next((text for start, text in _REMEDIES.items() if name.startswith(start)), "")
    place = f"SQLite database {path}: " if remedy else "SQLite: "
    return DatabaseError(f"{place}{error}.", remedy)


def _optimize(connection: sqlite3.Connection) -> None:
    """Refresh the planner's statistics where that is worth it; no harm is done if it fails at shutdown."""
    try:
        connection.execute("PRAGMA analysis_limit = 400")
        connection.execute("PRAGMA optimize")
    except sqlite3.Error as error:
        logger.info("The statistics of the SQLite database were not refreshed: %s", error)


def _prepare_file(path: Path) -> None:
    """Create the database's file, readable by the server's user only, or say why that cannot be."""
    directory = path.parent
    if not directory.is_dir():
        raise DatabaseError(
            f"The directory {directory} of the SQLite database does not exist.",
            f"Create it (mkdir -p {directory}) and let the server's user write in it, "
            "or change database.args.database in homeserver.yaml.",
        )
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseError(
            f"The SQLite database {path} cannot be opened for writing: {error.strerror}.",
            "Let the server's user read and write the file, and write in its directory.",
        ) from error


def _configure(connection: sqlite3.Connection, *, reader: bool) -> None:
    connection.row_factory = sqlite3.Row
    if not reader:
        # Only has an effect on an empty file: lets space be given back to the file system later.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise DatabaseError(
                f"SQLite cannot use a write-ahead log here (journal mode {mode}).",
                "Put the database on a local file system, not a network share.",
            )
    connection.execute("PRAGMA synchronous = FULL")  # what was answered 200 is on disk
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = {-16_000 if reader else -32_000}")  # KiB
    connection.execute(f"PRAGMA mmap_size = {256 << 20}")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    if reader:
        connection.execute("PRAGMA query_only = ON")


async def _connect(path: str, *, reader: bool) -> aiosqlite.Connection:
    connection = aiosqlite.connect(
        path,
        isolation_level=None,  # transactions are begun and ended here, not by sqlite3
        timeout=BUSY_TIMEOUT_S,
        cached_statements=512,
        detect_types=sqlite3.PARSE_DECLTYPES,
    )
    try:
        await connection
        await _in_thread(connection, lambda: _configure(_raw(connection), reader=reader))
    except sqlite3.Error as error:
        await connection.close()
        raise translate(error, path) from error
    except BaseException:
        await connection.close()
        raise
    return connection


async def open_sqlite(args: Mapping[str, Any]) -> SQLiteDatabase:
    """Open or create the database of which `args["database"]` is the path. Raises DatabaseError."""
    if sqlite3.sqlite_version_info < OLDEST_VERSION:
        raise DatabaseError(
            f"Python uses version {sqlite3.sqlite_version} of SQLite, which is too old.",
            "Install SQLite 3.38 or later, or use PostgreSQL (database.name: psycopg2 in homeserver.yaml).",
        )
    path = args.get("database")
    if not isinstance(path, str) or not path or path == ":memory:":
        raise DatabaseError(
            f"database.args.database is {path!r}, which is not the path of a file.",
            "Give the path of the SQLite database in homeserver.yaml; it is created if it does not exist.",
        )
    for name in args.keys() - {"database", "cp_min", "cp_max", "check_same_thread"}:
        logger.warning("database.args.%s is not known for sqlite3 and has no effect.", name)
    sqlite3.register_converter("BOOLEAN", lambda value: value != b"0")
    await asyncio.to_thread(_prepare_file, Path(path))
    writer = await _connect(path, reader=False)
    readers: list[aiosqlite.Connection] = []
    try:
        for _ in range(READERS):
            readers.append(await _connect(path, reader=True))
    except BaseException:
        for connection in [writer, *readers]:
            await connection.close()
        raise
    return SQLiteDatabase(path, writer, readers)
