"""Sessions: access tokens, who they belong to, and the devices that go with them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections import OrderedDict
from dataclasses import dataclass

from homeserver.core.errors import invalid_param, unknown_token
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.storage import access_tokens
from homeserver.storage.database import Database, Transaction, is_storable

# Owners of tokens are remembered this long (ms), so that not every request asks the database. A logout here
# is noticed at once; one through another process on the same PostgreSQL within this time.
CACHE_MS = 30_000
MAX_CACHED = 20_000
MAX_DEVICE_ID_LENGTH = 255
MAX_DEVICE_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Session:
    """What a client gets when it logs in."""

    user_id: str
    device_id: str
    access_token: str


class Sessions:
    """Issues access tokens, knows whom they belong to, and ends them."""

    def __init__(self, database: Database, now_ms: Clock) -> None:
        self._database = database
        self._now_ms = now_ms
        self._cache: OrderedDict[bytes, tuple[Requester, int]] = OrderedDict()  # hash -> (owner, until)
        self._generation = 0  # raised when tokens end: what was read before must not be remembered after

    async def start(
        self, user_id: str, device_id: str | None = None, display_name: str | None = None
    ) -> Session:
        """A new access token for the user's device, which is made if it is not known.

        A device has one token: an older one of the same device ends. Raises M_INVALID_PARAM for a device ID
        that cannot be one.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
        """
        device = _new_device_id() if device_id is None else device_id
        check_device_id(device)
        name = None if display_name is None else display_name.replace("\0", "")[:MAX_DEVICE_NAME_LENGTH]
        token = secrets.token_urlsafe(32)

        async def work(tx: Transaction) -> None:
            await access_tokens.remove_of_device(tx, user_id, device)
            await access_tokens.ensure_device(tx, user_id, device, name)
            await access_tokens.add(tx, _hash(token), user_id, device, self._now_ms())

        await self._database.write(work)
        self._forget(user_id, device)
        return Session(user_id, device, token)

    async def authenticate(self, token: str) -> Requester:
        """Who the access token belongs to. Raises M_UNKNOWN_TOKEN."""
        token_hash = _hash(token)
        now = self._now_ms()
        cached = self._cache.get(token_hash)
        if cached is not None and now < cached[1]:
            return cached[0]
        generation = self._generation
        owner = await self._database.read(lambda tx: access_tokens.owner(tx, token_hash))
        if owner is None:
            self._cache.pop(token_hash, None)
            raise unknown_token("Unrecognised access token")
        requester = Requester(
            user_id=owner.user_id,
            device_id=owner.device_id,
            token_id=owner.token_id,
            is_guest=owner.is_guest,
            is_admin=owner.is_admin,
        )
        if generation == self._generation:
            self._cache[token_hash] = (requester, now + CACHE_MS)
            self._cache.move_to_end(token_hash)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return requester

    async def end(self, requester: Requester) -> None:
        """Log out: the token ends, and its device is forgotten."""
        device_id = requester.device_id
        if device_id is None:
            await self._database.write(lambda tx: access_tokens.remove(tx, requester.token_id))
        else:
            await self._database.write(
                lambda tx: access_tokens.remove_device(tx, requester.user_id, device_id)
            )
        self._forget(requester.user_id, device_id)

    async def end_all(self, user_id: str) -> None:
        """Log out everywhere: all tokens and devices of the user end."""
        await self._database.write(lambda tx: access_tokens.remove_devices(tx, user_id))
        self._forget(user_id)

    def _forget(self, user_id: str, device_id: str | None = None) -> None:
        """Drop what is remembered of a user's device, or of all of them."""
        self._generation += 1
        gone = [
            token_hash
            for token_hash, (owner, _) in self._cache.items()
            if owner.user_id == user_id and (device_id is None or owner.device_id == device_id)
        ]
        for token_hash in gone:
            del self._cache[token_hash]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _new_device_id() -> str:
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))


def check_device_id(device_id: str) -> None:
    """Raises M_INVALID_PARAM unless this can be a device ID."""
    if not device_id or len(device_id) > MAX_DEVICE_ID_LENGTH or not is_storable(device_id):
        raise invalid_param(
            f"device_id must have 1 to {MAX_DEVICE_ID_LENGTH} characters, and none of them NUL"
        )
