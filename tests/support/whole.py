"""The whole application, as `homeserver.app` wires it, inside the test process: clients over plain HTTP, servers over HTTPS.

async with WholeServer(authority, directory) as ours:
    alice = await ours.register("alice")
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp

from homeserver.app import serve
from homeserver.config import settings_from
from homeserver.config.signing_key import create_signing_key
from homeserver.storage.database import Database
from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.federation_peer import SUBNET, bound_socket, name_of
from tests.support.homeserver_yaml import RATE_LIMITS
from tests.support.invariants import row_counts, violations
from tests.support.person import register as register_with_secret
from tests.support.rooms import open_sqlite

V3 = "/_matrix/client/v3"
DEAD_SERVER = f"{SUBNET}.199:1"
"""A server that may be asked and never answers."""

_numbers = count(1)


@dataclass
class Complaints(logging.Handler):
    """What was logged as an error or with a traceback."""

    records: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it is a complaint."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.records.append(logging.Formatter().format(record))

    __hash__ = object.__hash__


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What is logged meanwhile as an error or with a traceback."""
    handler = Complaints()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)


def free_address(number: int) -> tuple[str, int]:
    """An address of the test's own with a port that is free: nothing else binds to that address."""
    with bound_socket(number) as listening:
        host, port = name_of(listening).rsplit(":", 1)
    return host, int(port)


def configuration(directory: Path, number: int = 150) -> dict[str, Any]:
    """homeserver.yaml of a server with a listener for clients alone, without limits; it speaks with nobody."""
    host, port = free_address(number)
    key = directory / f"signing-{number}.key"
    if not key.exists():
        create_signing_key(key)
    return {
        "server_name": f"{host}:{port}",
        "public_baseurl": f"http://{host}:{port}/",
        "listeners": [_listener(host, port, tls=False)],
        "database": {"name": "sqlite3", "args": {"database": str(directory / f"homeserver-{number}.db")}},
        "signing_key_path": str(key),
        "media_store_path": str(directory / "media"),
        "registration_shared_secret": "secret",
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "allow_public_rooms_over_federation": True,
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        **RATE_LIMITS,
    }


def _listener(host: str, port: int, *, tls: bool) -> dict[str, Any]:
    names = ["client", "federation"]
    return {
        "port": port,
        "bind_addresses": [host],
        "type": "http",
        "tls": tls,
        "resources": [{"names": names}],
    }


class WholeServer:
    """`peers`: the names of the servers that it may speak with; None: all that the test starts. more: settings besides."""

    def __init__(
        self,
        authority: Authority,
        directory: Path,
        peers: tuple[str, ...] | None = (),
        *,
        number: int = 150,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        settings = configuration(directory, number)
        host, secure_port = free_address(number)
        plain_port = settings["listeners"][0]["port"]
        authority.server_context(host)
        certificate = max(directory.glob("leaf-*.pem"), key=lambda path: path.stat().st_mtime_ns)
        settings |= {
            "server_name": f"{host}:{secure_port}",
            "listeners": [_listener(host, plain_port, tls=False), _listener(host, secure_port, tls=True)],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(certificate),
            "federation_custom_ca_list": [str(authority.path)],
            "ip_range_allowlist": [f"{SUBNET}.0/24"],
            "federation_domain_whitelist": None if peers is None else [*peers, DEAD_SERVER],
            "federation": {
                "client_timeout": "5s",
                "destination_min_retry_interval": "1s",
                "destination_max_retry_interval": "2s",
                "destination_retry_multiplier": 1,
            },
            **(more or {}),
        }
        self.server_name: str = settings["server_name"]
        self.base_url = f"http://{host}:{plain_port}"
        self.database_path = Path(settings["database"]["args"]["database"])
        self.signing_key_path = Path(settings["signing_key_path"])
        self._settings = settings_from(settings, base=directory).settings

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            server = await serve(self._settings)
            stack.push_async_callback(server.close)
            # A client of its own connection each: many requests at once are meant to be at once.
            connector = aiohttp.TCPConnector(limit=0)
            session = aiohttp.ClientSession(auto_decompress=False, connector=connector)
            await stack.enter_async_context(session)
            self.client = Client(session, self.base_url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def again(self) -> Self:
        """The same server, to be started once more."""
        return self

    def user_id(self, localpart: str) -> str:
        """A user ID of this server."""
        return f"@{localpart}:{self.server_name}"

    async def register(self, localpart: str) -> Client:
        """A new user, logged in."""
        return await register(self.client, localpart)

    async def register_admin(self, localpart: str) -> Client:
        """A new administrator of the server, logged in."""
        person = await register_with_secret(self.base_url, "secret", localpart, admin=True)
        return self.client.with_token(person.token, person.user_id, person.device_id)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """A connection of the test's own to the server's database."""
        database = await open_sqlite(self.database_path)
        try:
            yield database
        finally:
            await database.close()

    async def violations(self) -> list[str]:
        """What is wrong in the database."""
        async with self.database() as database:
            return await violations(database)

    async def row_counts(self) -> dict[str, int]:
        """The number of rows of each table."""
        async with self.database() as database:
            return await row_counts(database)


@asynccontextmanager
async def faultless(server: WholeServer) -> AsyncIterator[WholeServer]:
    """Start the server. It must not log an error, and its database must be sound in the end."""
    with complaints() as logged:
        async with server:
            yield server
            assert await server.violations() == []
    assert logged == []


async def register(client: Client, localpart: str) -> Client:
    """A client of a new user, logged in."""
    body = {"username": localpart, "password": "a password", "auth": {"type": "m.login.dummy"}}
    answer = (await client.post(f"{V3}/register", body)).ok()
    return client.with_token(answer["access_token"], answer["user_id"], answer["device_id"])


async def create_room(client: Client, **body: Any) -> str:
    """A new public room; its ID."""
    room_id: str = (await client.post(f"{V3}/createRoom", {"preset": "public_chat", **body})).ok()["room_id"]
    return room_id


def send_path(room_id: str, transaction_id: str | None = None, event_type: str = "m.room.message") -> str:
    """Where a message is sent to."""
    return f"{V3}/rooms/{quote(room_id)}/send/{event_type}/{transaction_id or f't{next(_numbers)}'}"


async def rename(client: Client, name: str, room_id: str) -> None:
    """Give the user a display name, and wait until the room has it."""
    (await client.put(f"{V3}/profile/{quote(client.user_id)}/displayname", {"displayname": name})).ok()
    member = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(client.user_id)}"
    async with asyncio.timeout(20):
        while (await client.get(member)).ok().get("displayname") != name:
            pass


async def say(client: Client, room_id: str, text: str) -> str:
    """Send a message; the event's ID."""
    answer = await client.put(send_path(room_id), {"msgtype": "m.text", "body": text})
    event_id: str = answer.ok()["event_id"]
    return event_id


async def membership(client: Client, room_id: str, what: str) -> Answer:
    """join or leave."""
    return await client.post(f"{V3}/rooms/{quote(room_id)}/{what}")


@dataclass(frozen=True)
class Conversation:
    """A room that alice has made and bob has joined."""

    alice: Client
    bob: Client
    room_id: str


async def conversation(server: WholeServer) -> Conversation:
    """A room of two new users."""
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    return Conversation(alice, bob, room_id)


async def join_via(resident: WholeServer, server: WholeServer, localpart: str, room_id: str) -> Client:
    """A new user of a server, who has joined a room with the help of another server."""
    user = await server.register(localpart)
    (await user.post(f"{V3}/join/{quote(room_id)}?server_name={resident.server_name}")).ok()
    return user


async def sync(client: Client, since: str | None = None, **query: Any) -> Any:
    """An answer of /sync, which leaves the user's presence as it is unless `set_presence` says otherwise."""
    asked = urlencode({"set_presence": "offline", **({} if since is None else {"since": since}), **query})
    return (await client.get(f"{V3}/sync?{asked}")).ok()


async def history(client: Client, room_id: str) -> list[Mapping[str, Any]]:
    """All of a room's events that the server has, newest first."""
    found: list[Mapping[str, Any]] = []
    page = ""
    while True:
        answer = (await client.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b&limit=100{page}")).ok()
        found.extend(answer["chunk"])
        if "end" not in answer:
            return found
        page = f"&from={answer['end']}"


def compact(value: Any) -> bytes:
    """JSON as short as it can be, keys sorted; also of what is no canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict).encode()
