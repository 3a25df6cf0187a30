"""Logging in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

import time
from collections.abc import Callable

from homeserver.config import LoginLimits
from homeserver.core.errors import forbidden, limit_exceeded, user_deactivated, user_locked
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.accounts import Accounts
from homeserver.services.login_tokens import LoginTokens
from homeserver.services.sessions import ClientDevice, Session, Sessions
from homeserver.storage.accounts import Account


class Login:
    """Checks who logs in, with limits, and starts their session."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        tokens: LoginTokens,
        limits: LoginLimits,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._tokens = tokens
        self._by_account = TokenBuckets(limits.account)
        self._failed = TokenBuckets(limits.failed_attempts)
        self._monotonic = monotonic

    async def with_password(self, user: str, password: str, device: ClientDevice) -> Session:
        """A session for the user (a user ID or its localpart) whose password this is.

        Raises M_FORBIDDEN, M_USER_DEACTIVATED, M_USER_LOCKED, M_INVALID_PARAM; M_LIMIT_EXCEEDED after too many failures, or
        too many logins, of this account.
        """
        return await self._start(await self.check_password(user, password), device)

    async def with_token(self, token: str, device: ClientDevice) -> Session:
        """A session for the user whose login token this is: it can be used once.

        Raises M_FORBIDDEN, M_USER_DEACTIVATED, M_USER_LOCKED, M_INVALID_PARAM, M_LIMIT_EXCEEDED.
        """
        account = await self._accounts.get(await self._tokens.redeem(token))
        if account is None:
            raise forbidden("Invalid login token")
        return await self._start(account, device)

    async def check_password(self, user: str, password: str) -> Account:
        """The account whose password this is. Raises M_FORBIDDEN, M_USER_DEACTIVATED; M_LIMIT_EXCEEDED after too many failures."""
        # Unknown names are counted like known ones: a refusal must not tell which exist.
        key = self._accounts.user_id_of(user) or user.lower()[:255]
        # Counted before the answer is known, so that guesses made at the same time count too.
        _refuse_for(self._failed.take(key, self._monotonic()))
        account = await self._accounts.check_password(user, password)
        self._failed.give_back(key, self._monotonic())
        return account

    async def _start(self, account: Account, device: ClientDevice) -> Session:
        if account.is_deactivated:
            raise user_deactivated()
        if account.is_locked:
            raise user_locked()
        _refuse_for(self._by_account.take(account.user_id, self._monotonic()))
        return await self._sessions.start(account.user_id, device)


def _refuse_for(retry_after_ms: int) -> None:
    if retry_after_ms:
        raise limit_exceeded("Too many login attempts", retry_after_ms)
