"""A private PostgreSQL server for the tests: on a Unix socket, in a temporary directory, without fsync."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import asyncpg
import pytest

SUPERUSER = "tester"
WITH_PASSWORD = "with_password"  # the name of a role, to be created, that is asked for its password
_READY = "database system is ready to accept connections"


class PostgreSQLMissing(Exception):
    """PostgreSQL cannot be started here; the message says why."""


@dataclass(frozen=True)
class PostgreSQLServer:
    """A running server. `socket_directory` is what clients take as the host."""

    socket_directory: str
    process: subprocess.Popen[str]

    async def admin(self, database: str = "postgres") -> asyncpg.Connection:
        """A connection as the superuser."""
        return await asyncpg.connect(host=self.socket_directory, user=SUPERUSER, database=database)

    async def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the superuser."""
        connection = await self.admin(database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def arguments(self, database: str) -> dict[str, object]:
        """`database.args` for a database of this server."""
        return {"host": self.socket_directory, "user": SUPERUSER, "database": database, "cp_max": 8}


def find_programs() -> Path:
    """The directory with initdb and postgres. Raises PostgreSQLMissing."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    in_path = shutil.which("initdb")
    if in_path is None:
        raise PostgreSQLMissing(
            "PostgreSQL's initdb is neither in /usr/lib/postgresql nor in PATH (Debian: postgresql)"
        )
    return Path(in_path).resolve().parent


def _unprivileged() -> str | None:
    """The user to run PostgreSQL as when we are root, which it refuses; None when we are not."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise PostgreSQLMissing(
        "PostgreSQL refuses to run as root, and there is neither user postgres nor nobody"
    )


def _initialise(programs: Path, data: Path, user: str | None) -> None:
    command: list[str | Path] = [programs / "initdb", "-D", data, "-U", SUPERUSER, "-A", "trust"]
    done = subprocess.run(
        [*command, "-E", "UTF8", "--locale=C", "--no-sync"],
        user=user,
        extra_groups=[] if user else None,
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PostgreSQLMissing(f"initdb failed: {done.stderr.strip()}")
    rules = data / "pg_hba.conf"
    rules.write_text(f"local all {WITH_PASSWORD} scram-sha-256\n{rules.read_text()}")


def _wait_until_ready(log: IO[str]) -> threading.Thread:
    """Read the server's log until it is ready; the thread goes on reading, until the end, so that the pipe does not fill."""
    seen: list[str] = []
    for line in log:
        seen.append(line)
        if _READY in line:
            reading = threading.Thread(
                target=lambda: [None for _ in log], name="log of postgres", daemon=True
            )
            reading.start()
            return reading
    raise PostgreSQLMissing(f"postgres did not start: {''.join(seen).strip()}")


@contextlib.contextmanager
def _running(programs: Path, directory: Path, user: str | None) -> Iterator[subprocess.Popen[str]]:
    """Run a server on the data that are there. Raises PostgreSQLMissing."""
    options = ["fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=60"]
    command: list[str | Path] = [programs / "postgres", "-D", directory / "data", "-k", directory]
    process = subprocess.Popen(
        [*command, *(x for o in options for x in ("-c", o))],
        user=user,
        extra_groups=[] if user else None,
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    reading = None
    try:
        reading = _wait_until_ready(process.stderr)
        yield process
    finally:
        process.send_signal(3)  # SIGQUIT: at once, nothing here is kept
        process.wait()
        if reading is not None:
            reading.join()  # to the end of the log, which the last of the server's processes brings
        process.stderr.close()


@contextlib.contextmanager
def _initialised() -> Iterator[tuple[Path, Path, str | None]]:
    """The programs, a directory with new data, and the user that owns it. Raises PostgreSQLMissing."""
    programs = find_programs()
    user = _unprivileged()
    # Not pytest's directory: others cannot enter it, and the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="hs-pg-") as name:
        directory = Path(name)
        if user is not None:
            shutil.chown(directory, user)
        _initialise(programs, directory / "data", user)
        yield programs, directory, user


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """Run a server for as long as the context lasts. Raises PostgreSQLMissing."""
    with _initialised() as (programs, directory, user), _running(programs, directory, user) as process:
        yield PostgreSQLServer(str(directory), process)


class PostgreSQLOutage:
    """Stops a server at once, as if its machine had failed, and starts it again. Both block."""

    def __init__(
        self, stack: contextlib.ExitStack, programs: Path, directory: Path, user: str | None
    ) -> None:
        self._stack = stack
        self._place = (programs, directory, user)
        self.server = self.end()

    def begin(self) -> None:
        """The server is gone."""
        self._stack.close()

    def end(self) -> PostgreSQLServer:
        """The server is there."""
        process = self._stack.enter_context(_running(*self._place))
        self.server = PostgreSQLServer(str(self._place[1]), process)
        return self.server


@pytest.fixture
def outage() -> Iterator[PostgreSQLOutage]:
    """A server of the test's own that it can stop. Without PostgreSQL the test is skipped."""
    try:
        with _initialised() as place, contextlib.ExitStack() as stack:
            yield PostgreSQLOutage(stack, *place)
    except PostgreSQLMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server. Without one the test is skipped."""
    try:
        with postgresql_server() as server:
            yield server
    except PostgreSQLMissing as missing:
        pytest.skip(str(missing))
