"""A server of accounts behind its HTTP interface: the transcripts of tests/api speak with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import argon2
import pytest

from homeserver.admin_api import register as admin_register
from homeserver.admin_api import registration_tokens as admin_registration_tokens
from homeserver.app.accounts import build_accounts
from homeserver.client_api import (
    account_deactivation,
    admin,
    administrative_contact,
    capabilities,
    device_management,
    filter,
    login,
    login_token,
    logout,
    openid,
    password_management,
    profile,
    refresh,
    registration,
    registration_tokens,
    support,
    versions,
    wellknown,
    whoami,
)
from homeserver.config import Settings, settings_from
from homeserver.core.errors import not_found
from homeserver.core.requester import Requester
from homeserver.federation_api import openid as federation_openid
from homeserver.federation_api import wellknown as server_wellknown
from homeserver.http import Authenticators, RateLimiter, Request, build_application, endpoints_of
from homeserver.services.accounts import Accounts
from homeserver.services.filters import Filters
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import Profiles
from homeserver.services.sessions import Sessions
from homeserver.storage.database import Database, open_database
from homeserver.web import auth_fallback
from tests.support.certificates import Authority
from tests.support.certificates import authority as authority
from tests.support.client import Client, serving
from tests.support.federation_peer import peer as peer
from tests.support.push_gateway import gateway as gateway
from tests.support.room_server import RoomServer, room_server
from tests.support.whole import Conversation, WholeServer, conversation, faultless

T = TypeVar("T")

MODULES = (
    admin_registration_tokens,
    auth_fallback,
    federation_openid,
    account_deactivation,
    admin,
    administrative_contact,
    device_management,
    login_token,
    openid,
    password_management,
    refresh,
    registration_tokens,
    admin_register,
    capabilities,
    filter,
    login,
    logout,
    profile,
    registration,
    server_wellknown,
    support,
    versions,
    wellknown,
    whoami,
)
ENDPOINTS = [declared for module in MODULES for declared in endpoints_of(module)]

# As weak as argon2 lets it be: the tests are not about how long it takes.
WEAK_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

OPEN = {"enable_registration": True, "enable_registration_without_verification": True}
UNLIMITED = {"per_second": 1000, "burst_count": 1000}
NO_LIMITS = {
    "rc_registration": UNLIMITED,
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
}


@dataclass
class Clock:
    """The time, which the test moves."""

    seconds: float = 1_700_000_000

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class RemoteProfiles:
    """The profiles of other servers, and who was asked about."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    async def __call__(self, user_id: str, field: str | None) -> dict[str, Any]:
        self.asked.append((user_id, field))
        if user_id not in self.known:
            raise not_found("Profile not found")
        return self.known[user_id]


@dataclass
class Server:
    """A running server, and what tests turn and look at."""

    client: Client
    settings: Settings
    database: Database
    services: list[object]
    clock: Clock
    changed_profiles: list[str]
    remote_profiles: RemoteProfiles

    def service(self, kind: type[T]) -> T:
        """The service of this class."""
        return _one(self.services, kind)

    async def user(self, name: str, password: str | None = "the password", **how: Any) -> Client:
        """A client of a new user, logged in."""
        user_id = await self.service(Accounts).create(name, password, **how)
        session = await self.service(Sessions).start(user_id)
        return self.client.with_token(session.access_token, user_id, session.device_id)


StartServer = Callable[..., Awaitable[Server]]


async def _start(stack: AsyncExitStack, directory: Path, overrides: dict[str, Any]) -> Server:
    database_settings = {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}}
    given = {
        "server_name": "ours.test",
        "database": database_settings,
        **OPEN,
        **NO_LIMITS,
        **overrides,
    }
    settings = settings_from(given, base=directory).settings
    database = await open_database(settings.storage.database)
    stack.push_async_callback(database.close)
    clock = Clock()
    changed: list[str] = []

    async def on_change(user_id: str) -> None:
        changed.append(user_id)

    async def leave_room(user_id: str, room_id: str) -> None:
        raise AssertionError("nobody is in a room here")

    built = build_accounts(
        settings,
        database,
        leave_room,
        clock=clock.now_ms,
        monotonic=clock.monotonic,
        passwords=Passwords(WEAK_HASHER),
    )
    built.deactivation.work.start()
    stack.push_async_callback(built.deactivation.work.stop)
    sessions = _one(built.services, Sessions)

    async def authenticate(token: str, request: Request) -> Requester:
        requester = await sessions.authenticate(token)
        built.last_seen.note(requester, request.address, request.headers.get("User-Agent"))
        return requester

    remote = RemoteProfiles()
    services = [
        settings.server,
        settings.rooms,
        Filters(database),
        Profiles(database, settings.server_name, on_change=on_change, remote=remote),
        *built.services,
    ]
    limits = RateLimiter(
        {"rc_login.address": settings.rate_limits.rc_login.address}, monotonic=clock.monotonic
    )
    application = build_application(ENDPOINTS, services, Authenticators(access_token=authenticate), limits)
    client = await stack.enter_async_context(serving(application))
    return Server(client, settings, database, services, clock, changed, remote)


def _one(services: Iterable[object], kind: type[T]) -> T:
    (found,) = (service for service in services if isinstance(service, kind))
    return found


@pytest.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts a server with these keys of homeserver.yaml, on a fresh SQLite database."""
    async with AsyncExitStack() as stack:

        async def start(**overrides: Any) -> Server:
            return await _start(stack, tmp_path, overrides)

        yield start


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server with open registration and no limits."""
    return await start_server()


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[RoomServer]:
    """The endpoints of rooms, with tokens that say whose they are."""
    async with room_server(tmp_path) as running:
        yield running


@pytest.fixture
def whole_settings() -> Mapping[str, Any]:
    """Keys of homeserver.yaml for `whole`; tests that need some have a fixture of this name."""
    return {}


@pytest.fixture
async def whole(
    authority: Authority, tmp_path: Path, whole_settings: Mapping[str, Any]
) -> AsyncIterator[WholeServer]:
    """The whole application. It must not log an error, and its database must be sound in the end."""
    async with faultless(WholeServer(authority, tmp_path, more=whole_settings)) as server:
        yield server


@pytest.fixture
async def root(whole: WholeServer) -> Client:
    """An administrator of the whole server."""
    return await whole.register_admin("root")


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    """A user of the whole server."""
    return await whole.register("alice")


@pytest.fixture
async def room(whole: WholeServer) -> Conversation:
    """A room of two users of the whole server."""
    return await conversation(whole)


@pytest.fixture
async def ours(authority: Authority, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """The whole application, which may speak with all servers of the test, and may log what goes wrong with them."""
    async with WholeServer(authority, tmp_path, None) as server:
        yield server
