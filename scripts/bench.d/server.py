"""The server that is measured: a process of its own, with a fresh database and without rate limits."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from connection import Connection

from homeserver.config import create_signing_key
from tests.support.certificates import Authority
from tests.support.federation_peer import SUBNET
from tests.support.homeserver_yaml import RATE_LIMITS
from tests.support.postgresql import PostgreSQLServer, postgresql_server

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILED = Path(__file__).with_name("profiled.py")
HOST = "127.0.0.1"
# Where the scripted federation server may connect to.
FEDERATION_HOST = f"{SUBNET}.200"
SECRET = "secret of the benchmarks"
SECONDS_TO_START = 60


class BenchmarkError(Exception):
    """The measurement cannot be made; the message says why."""


@dataclass
class User:
    """Somebody with an account and a connection."""

    user_id: str
    connection: Connection


@dataclass
class Server:
    """`async with Server(directory) as server:` starts it and stops it.

    `postgresql`: keep everything in a database of that server. `profile`: where to write where the time goes.
    """

    directory: Path
    postgresql: PostgreSQLServer | None = None
    profile: Path | None = None
    _users: int = 0
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.authority = Authority(self.directory)
        self.client_port, self.federation_port = _free_ports(2)
        self.server_name = f"{FEDERATION_HOST}:{self.federation_port}"
        self.database_path = self.directory / "homeserver.db"
        self.log_path = self.directory / "log"

    async def __aenter__(self) -> Self:
        if self.postgresql is not None:
            await self.postgresql.execute("CREATE DATABASE bench")
        config = self.directory / "homeserver.yaml"
        config.write_text(json.dumps(self._configuration()))  # JSON is YAML too
        create_signing_key(self.directory / "signing.key")
        program: list[str | Path] = ["-m", "homeserver"]
        if self.profile is not None:
            program = [PROFILED, self.profile]
        self.process = self._launch([*program, "-c", config])
        try:
            await self._ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def _launch(self, arguments: list[str | Path]) -> subprocess.Popen[bytes]:
        with self.log_path.open("w") as log:
            return subprocess.Popen([sys.executable, *arguments], cwd=REPOSITORY, stdout=log, stderr=log)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _configuration(self) -> Mapping[str, Any]:
        pair = _pem(self.authority, self.directory)
        database: dict[str, Any] = {"name": "sqlite3", "args": {"database": str(self.database_path)}}
        if self.postgresql is not None:
            database = {"name": "psycopg2", "args": self.postgresql.arguments("bench")}
        return {
            "server_name": self.server_name,
            "public_baseurl": f"http://{HOST}:{self.client_port}/",
            "listeners": [
                {"port": self.client_port, "bind_addresses": [HOST], "resources": [{"names": ["client"]}]},
                {
                    "port": self.federation_port,
                    "bind_addresses": [FEDERATION_HOST],
                    "tls": True,
                    "resources": [{"names": ["federation"]}],
                },
            ],
            "tls_certificate_path": str(pair),
            "tls_private_key_path": str(pair),
            "federation_custom_ca_list": [str(self.authority.path)],
            "ip_range_allowlist": ["127.0.0.0/8"],
            "trusted_key_servers": [],
            "signing_key_path": str(self.directory / "signing.key"),
            "data_directory": str(self.directory / "data"),
            "registration_shared_secret": SECRET,
            "database": database,
            # One line a request, as operators have it: it belongs to the cost.
            "log_level": "INFO",
            **{name: limit for name, limit in RATE_LIMITS.items() if name in KNOWN_LIMITS},
        }

    async def _ready(self) -> None:
        url = f"http://{HOST}:{self.client_port}/_matrix/client/versions"
        async with asyncio.timeout(SECONDS_TO_START):
            while True:
                if self.process.poll() is not None:
                    raise BenchmarkError(f"the server did not start:\n{self.log_path.read_text()[-3000:]}")
                with contextlib.suppress(urllib.error.URLError, OSError):
                    await asyncio.to_thread(_get, url)
                    return
                await asyncio.sleep(0.02)

    async def user(self, name: str | None = None) -> User:
        """A new account with a connection of its own, which is closed at the end."""
        connection = await self.connection()
        self._users += 1
        name = name or f"user{self._users}"
        path = "/_synapse/admin/v1/register"
        nonce = (await connection.request("GET", path))["nonce"]
        mac = hmac.new(SECRET.encode(), f"{nonce}\0{name}\0password\0notadmin".encode(), hashlib.sha1)
        body = {"nonce": nonce, "username": name, "password": "password", "mac": mac.hexdigest()}
        answer = await connection.request("POST", path, body)
        connection.token = answer["access_token"]
        return User(answer["user_id"], connection)

    async def connection(self, token: str | None = None) -> Connection:
        """Another connection, which is closed at the end."""
        return await self._stack.enter_async_context(Connection(HOST, self.client_port, token))

    async def size(self) -> int:
        """The bytes that the database takes on disk, all of it written."""
        if self.postgresql is not None:
            admin = await self.postgresql.admin("bench")
            try:
                await admin.execute("CHECKPOINT")
                return int(await admin.fetchval("SELECT pg_database_size('bench')"))
            finally:
                await admin.close()
        return await asyncio.to_thread(self._sqlite_size)

    def _sqlite_size(self) -> int:
        with contextlib.closing(sqlite3.connect(self.database_path, timeout=20)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.database_path.stat().st_size

    def memory(self) -> int:
        """The memory that it has, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def processor_seconds(self) -> float:
        """The processor time that it has used, of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The limits that this server has; others would only be warned of.
KNOWN_LIMITS = {
    "rc_message",
    "rc_registration",
    "rc_login",
    "rc_joins",
    "rc_joins_per_room",
    "rc_invites",
    "rc_room_creation",
    "rc_federation",
}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _pem(authority: Authority, directory: Path) -> Path:
    """A file with the server's certificate and its key."""
    before = set(directory.glob("leaf-*.pem"))
    authority.server_context(FEDERATION_HOST)
    (made,) = set(directory.glob("leaf-*.pem")) - before
    return made


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=5):
        pass


@contextlib.asynccontextmanager
async def running(directory: Path, *, postgresql: bool, profile: Path | None) -> AsyncIterator[Server]:
    """A server, with a PostgreSQL server of its own if asked for."""
    with postgresql_server() if postgresql else contextlib.nullcontext() as database:
        async with Server(directory, database, profile) as server:
            yield server
