"""Registration tokens: asking for them, checking them, and what administrators do with them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from homeserver.config import RateLimit
from homeserver.core.errors import (
    MatrixError,
    forbidden,
    invalid_param,
    limit_exceeded,
    missing_param,
    not_found,
)
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.clock import Clock
from homeserver.services.user_interactive import UserInteractive
from homeserver.storage import registration_tokens
from homeserver.storage.database import Database, Transaction
from homeserver.storage.registration_tokens import RegistrationToken

STAGE: Final = "m.login.registration_token"
DEFAULT_LENGTH = 16
MAX_LENGTH = 64
# "the Opaque Identifier Grammar, with maximum length of 64 characters"
_TOKEN = re.compile(rf"[0-9A-Za-z._~-]{{1,{MAX_LENGTH}}}")
_LETTERS = string.ascii_letters + string.digits + "._~-"
MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class CountedToken:
    """A token, and how many registrations with it are under way."""

    token: RegistrationToken
    pending: int


class Unchanged:
    """Stands for a limit that is to stay as it is."""


UNCHANGED = Unchanged()


class RegistrationTokens:
    """Knows which tokens let register."""

    def __init__(
        self,
        database: Database,
        user_interactive: UserInteractive,
        limit: RateLimit,
        now_ms: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`user_interactive` knows the registrations that are under way; `limit`: tries of an address."""
        self._database = database
        self._user_interactive = user_interactive
        self._by_address = TokenBuckets(limit)
        self._now_ms = now_ms
        self._monotonic = monotonic

    async def is_valid(self, token: str, address: str) -> bool:
        """Whether the token lets register. Raises M_LIMIT_EXCEEDED for an address that tries too many."""
        retry_after_ms = self._by_address.take(address, self._monotonic())
        if retry_after_ms:
            raise limit_exceeded("Too many registration tokens tried", retry_after_ms)
        if _TOKEN.fullmatch(token) is None:
            return False
        found = await self._database.read(lambda tx: registration_tokens.get(tx, token))
        return found is not None and self._is_valid(found)

    async def stage(self, auth: Mapping[str, Any], address: str) -> str:
        """Check the auth dict of m.login.registration_token; answers the token. Raises M_MISSING_PARAM, M_FORBIDDEN,
        M_LIMIT_EXCEEDED.
        """
        token = auth.get("token")
        if not isinstance(token, str):
            raise missing_param("The registration token is missing")
        if not await self.is_valid(token, address):
            raise forbidden("Invalid registration token")
        return token

    async def use(self, tx: Transaction, token: str) -> None:
        """Count a registration, in the unit of work that makes the account. Raises M_FORBIDDEN when it was one too many."""
        if not await registration_tokens.use(tx, token):
            raise forbidden("The registration token has been used up")

    async def all(self, valid: bool | None = None) -> list[CountedToken]:
        """All tokens, or those alone that are valid, or not."""
        found = await self._database.read(registration_tokens.get_all)
        return [
            CountedToken(token, self._pending(token.token))
            for token in found
            if valid is None or self._is_valid(token) == valid
        ]

    async def get(self, token: str) -> CountedToken:
        """One token. Raises M_NOT_FOUND."""
        _check_can_be(token)
        found = await self._database.read(lambda tx: registration_tokens.get(tx, token))
        if found is None:
            raise _no_such_token(token)
        return CountedToken(found, self._pending(token))

    async def create(
        self, token: str | None, uses_allowed: int | None, expiry_ts: int | None, length: int = DEFAULT_LENGTH
    ) -> CountedToken:
        """Make a token. token: None for one of random letters, `length` of them. Raises M_INVALID_PARAM."""
        self._check_limits(uses_allowed, expiry_ts)
        if token is None:
            if not 1 <= length <= MAX_LENGTH:
                raise invalid_param(f"length must be a whole number from 1 to {MAX_LENGTH}")
            token = "".join(secrets.choice(_LETTERS) for _ in range(length))
        elif _TOKEN.fullmatch(token) is None:
            raise invalid_param(f"token must have 1 to {MAX_LENGTH} of the characters A-Z, a-z, 0-9, . _ ~ -")
        made = RegistrationToken(token, uses_allowed, 0, expiry_ts)
        if not await self._database.write(lambda tx: registration_tokens.add(tx, made)):
            raise invalid_param("There is a token of this name already")
        return CountedToken(made, 0)

    async def limit(
        self, token: str, uses_allowed: int | None | Unchanged, expiry_ts: int | None | Unchanged
    ) -> CountedToken:
        """Change the limits of a token. Raises M_INVALID_PARAM, M_NOT_FOUND."""
        self._check_limits(
            None if isinstance(uses_allowed, Unchanged) else uses_allowed,
            None if isinstance(expiry_ts, Unchanged) else expiry_ts,
        )
        _check_can_be(token)

        async def work(tx: Transaction) -> RegistrationToken:
            found = await registration_tokens.get(tx, token)
            if found is None:
                raise _no_such_token(token)
            if not isinstance(uses_allowed, Unchanged):
                found = replace(found, uses_allowed=uses_allowed)
            if not isinstance(expiry_ts, Unchanged):
                found = replace(found, expiry_ts=expiry_ts)
            await registration_tokens.limit(tx, token, found.uses_allowed, found.expiry_ts)
            return found

        return CountedToken(await self._database.write(work), self._pending(token))

    async def remove(self, token: str) -> None:
        """Forget a token. Raises M_NOT_FOUND."""
        _check_can_be(token)
        if not await self._database.write(lambda tx: registration_tokens.remove(tx, token)):
            raise _no_such_token(token)

    def _is_valid(self, token: RegistrationToken) -> bool:
        if token.expiry_ts is not None and token.expiry_ts <= self._now_ms():
            return False
        uses = token.completed + self._pending(token.token)
        return token.uses_allowed is None or uses < token.uses_allowed

    def _pending(self, token: str) -> int:
        return self._user_interactive.proofs(STAGE).count(token)

    def _check_limits(self, uses_allowed: int | None, expiry_ts: int | None) -> None:
        if uses_allowed is not None and not 0 <= uses_allowed <= MAX_NUMBER:
            raise invalid_param("uses_allowed must be a whole number of at least 0, or null")
        if expiry_ts is not None and not self._now_ms() <= expiry_ts <= MAX_NUMBER:
            raise invalid_param("expiry_time must lie in the future, in milliseconds since 1970, or be null")


def _check_can_be(token: str) -> None:
    """Raises M_NOT_FOUND for what no token can be: it need not be looked for, and cannot always be."""
    if _TOKEN.fullmatch(token) is None:
        raise _no_such_token(token)


def _no_such_token(token: str) -> MatrixError:
    return not_found(f"There is no registration token {token[:100]}")
