"""Sessions: access tokens, who they belong to, and how they are refreshed.

Spec: https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
"""

from __future__ import annotations

import secrets
import string
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from homeserver.config import SessionSettings
from homeserver.core.errors import invalid_param, unknown_token, user_locked
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.services.token_hash import token_hash
from homeserver.storage import access_tokens, accounts, devices, refresh_tokens
from homeserver.storage.access_tokens import NewToken, TokenOwner
from homeserver.storage.database import Database, Transaction, is_storable
from homeserver.storage.refresh_tokens import RefreshToken

# Owners of tokens are remembered this long (ms), so that not every request asks the database. A logout here
# is noticed at once; one through another process on the same PostgreSQL within this time.
CACHE_MS = 30_000
MAX_CACHED = 20_000
MAX_DEVICE_ID_LENGTH = 255
MAX_DEVICE_NAME_LENGTH = 100
DEFAULTS = SessionSettings()


@dataclass(frozen=True, slots=True)
class Session:
    """What a client gets when it logs in. expires_in_ms: how long the access token is good; None for ever."""

    user_id: str
    device_id: str
    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDevice:
    """The device that a client wants to be. refreshable: whether it knows how to refresh tokens."""

    device_id: str | None = None
    name: str | None = None
    refreshable: bool = False


ANY_DEVICE = ClientDevice()


class Sessions:
    """Issues access tokens, knows whom they belong to, and refreshes them."""

    def __init__(self, database: Database, now_ms: Clock, settings: SessionSettings = DEFAULTS) -> None:
        self._database = database
        self._now_ms = now_ms
        self._settings = settings
        self._cache: OrderedDict[bytes, tuple[Requester, int, int | None]] = OrderedDict()
        """Hash of the token -> owner, until when that may be remembered, until when the token is good."""
        self.on_end: list[Callable[[str], None]] = []
        """Told of users of whom sessions have ended, or may do less than before."""
        self._generation = 0  # raised when tokens end: what was read before must not be remembered after

    async def start(
        self, user_id: str, wanted: ClientDevice = ANY_DEVICE, *, is_guest: bool = False
    ) -> Session:
        """A new access token for the user's device, which is made if it is not known.

        A device has one token: an older one of the same device ends. Raises M_INVALID_PARAM for a device ID
        that cannot be one.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
        """
        device_id = _new_device_id() if wanted.device_id is None else wanted.device_id
        check_device_id(device_id)
        name = None if wanted.name is None else device_name(wanted.name)
        now, lifetime = self._now_ms(), self._settings.session_lifetime
        session_expires = None if lifetime is None or is_guest else now + lifetime
        refresh_token = secrets.token_urlsafe(32) if wanted.refreshable and not is_guest else None
        issued = self._issue(user_id, device_id, refresh_token, session_expires, now, is_guest)

        async def work(tx: Transaction) -> None:
            await access_tokens.remove_of_device(tx, user_id, device_id)
            await refresh_tokens.remove_of_device(tx, user_id, device_id)
            await devices.ensure(tx, user_id, device_id, name)
            await self._store(tx, issued, session_expires, now)

        await self._database.write(work)
        self.forget(user_id)
        return issued

    async def refresh(self, token: str) -> Session:
        """New tokens for a refresh token, which is good until one of the new ones is used.

        Raises M_UNKNOWN_TOKEN, with soft_logout when it is used up or has expired; M_USER_LOCKED.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
        """
        now = self._now_ms()
        new_token = secrets.token_urlsafe(32)

        async def work(tx: Transaction) -> Session:
            old = await refresh_tokens.get(tx, token_hash(token))
            account = None if old is None else await accounts.get(tx, old.user_id)
            if old is None or account is None or account.is_deactivated:
                raise unknown_token("Unrecognised refresh token")
            if account.is_locked:
                raise user_locked()
            if old.is_used:
                raise unknown_token("The refresh token has been used already", soft_logout=True)
            if any(end is not None and end <= now for end in (old.expires_ts, old.session_expires_ts)):
                raise unknown_token("The refresh token has expired", soft_logout=True)
            # It is used: what was given out for the same token before has never reached the client.
            for lost in await refresh_tokens.replacements(tx, old):
                await access_tokens.remove_of_refresh_token(tx, lost)
                await refresh_tokens.remove(tx, lost)
            await _used(tx, old.user_id, old.device_id, old.token_id, old.replaces)
            issued = self._issue(old.user_id, old.device_id, new_token, old.session_expires_ts, now)
            await self._store(tx, issued, old.session_expires_ts, now, replaced=old)
            return issued

        issued = await self._database.write(work)
        self.forget(issued.user_id)
        return issued

    def _issue(
        self,
        user_id: str,
        device_id: str,
        refresh_token: str | None,
        session_expires: int | None,
        now: int,
        is_guest: bool = False,
    ) -> Session:
        """Tokens with the lifetimes that the settings give them."""
        settings = self._settings
        lifetime: int | None = settings.refreshable_access_token_lifetime
        if refresh_token is None:
            lifetime = None if is_guest else settings.nonrefreshable_access_token_lifetime
        if session_expires is not None:
            lifetime = min(session_expires - now, lifetime if lifetime is not None else session_expires - now)
        expires_in = None if lifetime is None else int(lifetime)
        return Session(user_id, device_id, secrets.token_urlsafe(32), refresh_token, expires_in)

    async def _store(
        self,
        tx: Transaction,
        issued: Session,
        session_expires: int | None,
        now: int,
        replaced: RefreshToken | None = None,
    ) -> None:
        refresh_token_id = None
        if issued.refresh_token is not None:
            lifetime = self._settings.refresh_token_lifetime
            refresh_token_id = await refresh_tokens.add(
                tx,
                token_hash(issued.refresh_token),
                issued.user_id,
                issued.device_id,
                expires_ts=None if lifetime is None else now + lifetime,
                session_expires_ts=session_expires,
                replaces=None if replaced is None else replaced.token_id,
            )
        token = NewToken(
            token_hash(issued.access_token),
            issued.user_id,
            issued.device_id,
            now,
            None if issued.expires_in_ms is None else now + issued.expires_in_ms,
            refresh_token_id,
        )
        await access_tokens.add(tx, token)

    async def authenticate(self, token: str) -> Requester:
        """Who the access token belongs to. Raises M_UNKNOWN_TOKEN, with soft_logout when it has expired."""
        hashed = token_hash(token)
        now = self._now_ms()
        cached = self._cache.get(hashed)
        if cached is not None and now < cached[1]:
            _check_valid(cached[2], now)
            return cached[0]
        generation = self._generation
        owner = await self._database.read(lambda tx: access_tokens.owner(tx, hashed))
        if owner is None:
            self._cache.pop(hashed, None)
            raise unknown_token("Unrecognised access token")
        _check_valid(owner.valid_until_ts, now)
        if owner.replaced_refresh_token_id is not None:
            await self._first_used(owner)
            generation = self._generation
        requester = Requester(
            user_id=owner.user_id,
            device_id=owner.device_id,
            token_id=owner.token_id,
            is_guest=owner.is_guest,
            is_admin=owner.is_admin,
            is_locked=owner.is_locked,
            is_suspended=owner.is_suspended,
        )
        if generation == self._generation:
            self._cache[hashed] = (requester, now + CACHE_MS, owner.valid_until_ts)
            self._cache.move_to_end(hashed)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return requester

    async def _first_used(self, owner: TokenOwner) -> None:
        """The client has the new tokens: those before end."""
        device_id, token_id = owner.device_id, owner.refresh_token_id
        assert device_id is not None and token_id is not None, "what is refreshed has a device"
        await self._database.write(
            lambda tx: _used(tx, owner.user_id, device_id, token_id, owner.replaced_refresh_token_id)
        )
        self.forget(owner.user_id)

    def end(self, user_id: str) -> None:
        """Sessions of a user have ended, or changed what they may do: forget them, and let what they wait for end."""
        self.forget(user_id)
        for told in self.on_end:
            told(user_id)

    def forget(self, user_id: str) -> None:
        """Drop what is remembered of a user's sessions: something has changed. Those that go on are looked up again."""
        self._generation += 1
        for hashed in [hashed for hashed, (owner, _, _) in self._cache.items() if owner.user_id == user_id]:
            del self._cache[hashed]


async def _used(tx: Transaction, user_id: str, device_id: str, token_id: int, replaced: int | None) -> None:
    """A refresh token, or its access token, has been used: those that they replaced end."""
    if replaced is not None:
        await access_tokens.remove_of_refresh_token(tx, replaced)
        await refresh_tokens.take_over(tx, user_id, device_id, token_id, replaced)


def _check_valid(valid_until: int | None, now: int) -> None:
    if valid_until is not None and valid_until <= now:
        raise unknown_token("The access token has expired", soft_logout=True)


def _new_device_id() -> str:
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))


def device_name(name: str) -> str:
    """A device's display name as it is stored."""
    return name.replace("\0", "")[:MAX_DEVICE_NAME_LENGTH]


def check_device_id(device_id: str) -> None:
    """Raises M_INVALID_PARAM unless this can be a device ID."""
    if not device_id or len(device_id) > MAX_DEVICE_ID_LENGTH or not is_storable(device_id):
        raise invalid_param(
            f"device_id must have 1 to {MAX_DEVICE_ID_LENGTH} characters, and none of them NUL"
        )
