"""What a database is to the rest of the server: units of work on a transaction, and its errors.

The same SQL text serves SQLite and PostgreSQL; see `homeserver.storage.database.sql` for the dialect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Dialect: TypeAlias = Literal["sqlite", "postgresql"]


class DatabaseError(Exception):
    """The database cannot do what it was asked: `cause` says what happened, `remedy` what to do about it."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause} {remedy}".strip())


class ConstraintViolation(DatabaseError):
    """A statement broke a UNIQUE, PRIMARY KEY, NOT NULL, CHECK or FOREIGN KEY constraint."""


class UnstorableText(ValueError):
    """A text holds a NUL character, which PostgreSQL cannot keep in a TEXT column, or a lone surrogate.

    SQLite refuses them too, so that both behave alike. Canonical JSON is kept as BYTEA and is not concerned;
    identifiers from other servers that go in TEXT columns must be checked with `is_storable` beforehand.
    """


def is_storable(text: str) -> bool:
    """Whether `text` can go in a TEXT column: it has no NUL character and is encodable as UTF-8."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def check_arguments(arguments: Iterable[Any]) -> None:
    """Raise UnstorableText if a text among `arguments`, or in a list among them, is not storable."""
    for argument in arguments:
        if isinstance(argument, str):
            if not is_storable(argument):
                raise UnstorableText(
                    f"A text with NUL or a lone surrogate cannot be stored: {argument[:80]!r}"
                )
        elif isinstance(argument, (list, tuple)):
            check_arguments(argument)


class Row(Protocol):
    """One row of a result; its values are read by position or by column name."""

    def __getitem__(self, key: int | str, /) -> Any: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def keys(self) -> Iterable[str]:
        """The names of the columns."""
        ...


class Transaction(Protocol):
    """What a unit of work acts through. After a statement has failed, every further call is refused.

    Values: int (BIGINT, SMALLINT), float, str (no NUL, see UnstorableText), bytes (BYTEA), bool, None; and
    for `= ANY($1)` a list of str, int or bytes. A BOOLEAN column comes back as bool; a boolean *expression*
    as 0 or 1 on SQLite.
    """

    @property
    def dialect(self) -> Dialect:
        """Which database it is, for the rare statement that differs."""
        ...

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        """Run a statement and return all of its rows."""
        ...

    async def fetch_one(self, sql: str, *args: Any) -> Row | None:
        """Run a statement and return its first row, or None."""
        ...

    async def fetch_value(self, sql: str, *args: Any) -> Any:
        """Run a statement and return the first column of its first row, or None if there is no row."""
        ...

    async def execute(self, sql: str, *args: Any) -> int:
        """Run a statement and return how many rows it inserted, updated or deleted."""
        ...

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once per row of arguments, in one round trip. `= ANY` is not for this."""
        ...


Work: TypeAlias = Callable[[Transaction], Awaitable[T]]


class Database(Protocol):
    """A database with the schema this server expects. Made by `open_database`.

    A unit of work is a function of a transaction that awaits nothing but the transaction's methods: on SQLite
    it runs to its end inside the connection's thread. It may be run more than once (PostgreSQL repeats a unit
    after a serialization failure), so it has no effect outside its transaction.
    """

    @property
    def dialect(self) -> Dialect:
        """Which database it is, for the rare statement that differs."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Run a unit of work that only reads; all of its statements see the same snapshot."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work atomically; on return it is on disk. An exception undoes it whole and is raised.

        Units behave as if run one after another. If the caller is cancelled while waiting, the unit is either
        wholly done or wholly not.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and close all connections. Further units are refused."""
        ...


class DatabaseSettings(Protocol):
    """The `database` section of homeserver.yaml."""

    @property
    def name(self) -> str:
        """`sqlite3` or `psycopg2`."""
        ...

    @property
    def args(self) -> Mapping[str, Any]:
        """`database`: the path of the file; or what psycopg2 takes to connect."""
        ...
