"""Tokens that log in another client of the same user, once.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from homeserver.config import LoginViaExistingSession, RateLimit
from homeserver.core.errors import forbidden, limit_exceeded, unrecognized
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.clock import Clock
from homeserver.services.token_hash import token_hash
from homeserver.storage import expiring_tokens
from homeserver.storage.database import Database

LIMIT = RateLimit(per_second=1 / 60, burst_count=1)
"""As the specification encourages: "stricter than normal rate limiting [...], such as maximum of 1 request per minute"."""


class LoginTokens:
    """Gives out login tokens, and takes them once."""

    def __init__(
        self,
        database: Database,
        settings: LoginViaExistingSession,
        now_ms: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._by_user = TokenBuckets(LIMIT)

    @property
    def is_enabled(self) -> bool:
        """Whether tokens are given out."""
        return self._settings.enabled

    @property
    def need_password(self) -> bool:
        """Whether a user has to authenticate for a token."""
        return self._settings.require_ui_auth

    def check_enabled(self) -> None:
        """Raises M_UNRECOGNIZED when no tokens are given out."""
        if not self._settings.enabled:
            raise unrecognized("Tokens that log in another client are not enabled on this homeserver")

    async def generate(self, user_id: str) -> tuple[str, int]:
        """A token for the user, and how long it is good, in ms. Raises M_LIMIT_EXCEEDED after the first one in a minute."""
        retry_after_ms = self._by_user.take(user_id, self._monotonic())
        if retry_after_ms:
            raise limit_exceeded("Only one login token a minute is given out", retry_after_ms)
        token, now, lifetime = secrets.token_urlsafe(32), self._now_ms(), int(self._settings.token_timeout)
        await self._database.write(
            lambda tx: expiring_tokens.add(
                tx, "login", token_hash(token), user_id, expires_ts=now + lifetime, now=now
            )
        )
        return token, lifetime

    async def redeem(self, token: str) -> str:
        """The user whose token this is, who has used it now. Raises M_FORBIDDEN."""
        now = self._now_ms()
        user_id = await self._database.write(
            lambda tx: expiring_tokens.take(tx, "login", token_hash(token), now)
        )
        if user_id is None:
            raise forbidden("Invalid login token: it has been used, or has expired")
        return user_id
