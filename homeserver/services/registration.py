"""Registration by anyone who is allowed to, and by those who know the shared secret.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.config import RateLimit, RegistrationSettings
from homeserver.core.errors import forbidden, limit_exceeded, missing_param
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.accounts import Accounts, check_password_form
from homeserver.services.sessions import Session, Sessions, check_device_id
from homeserver.services.user_interactive import DUMMY, UserInteractive, dummy_stage

OPERATION = "register"
# Asking whether a name is free is cheap, but it lists our users to whoever asks often enough.
AVAILABILITY_LIMIT = RateLimit(per_second=1, burst_count=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """Who wants an account: the body of a registration request."""

    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    device_name: str | None = None
    inhibit_login: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    """A new account; `session` is None when no login was wanted."""

    user_id: str
    session: Session | None


class Registration:
    """Makes accounts for those who ask for one."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        user_interactive: UserInteractive,
        settings: RegistrationSettings,
        limit: RateLimit,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._user_interactive = user_interactive
        self._settings = settings
        self._by_address = TokenBuckets(limit)
        self._availability = TokenBuckets(AVAILABILITY_LIMIT)
        self._monotonic = monotonic

    async def register(self, user: NewUser, auth: Mapping[str, Any] | None, address: str) -> Registered:
        """Register an account once the client has authenticated; `address` is the client's.

        Raises M_FORBIDDEN when registration is closed, M_LIMIT_EXCEEDED, M_INVALID_USERNAME, M_USER_IN_USE,
        M_INVALID_PARAM, M_MISSING_PARAM, and AuthenticationRequired.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
        """
        self._check_open()
        _refuse_for(self._by_address.wait_ms(address, self._monotonic()))
        # "Homeservers MUST perform the relevant checks and return these codes before performing
        # User-Interactive Authentication"
        if user.username is not None:
            await self._accounts.check_available(user.username)
        if user.password is not None:
            check_password_form(user.password)
        if user.device_id is not None:
            check_device_id(user.device_id)
        session_id = await self._user_interactive.authenticate(
            OPERATION, auth, flows=[[DUMMY]], stages={DUMMY: dummy_stage}
        )
        if user.password is None:
            raise missing_param("A password is needed to register")
        _refuse_for(self._by_address.take(address, self._monotonic()))
        user_id = await self._accounts.create(user.username or _any_username(), user.password)
        self._user_interactive.finish(session_id)
        if user.inhibit_login:
            return Registered(user_id, None)
        return Registered(user_id, await self._sessions.start(user_id, user.device_id, user.device_name))

    async def check_available(self, username: str, address: str) -> None:
        """Raises M_USER_IN_USE, M_INVALID_USERNAME, M_LIMIT_EXCEEDED, M_FORBIDDEN unless the name can be
        registered.
        """
        self._check_open()
        _refuse_for(self._availability.take(address, self._monotonic()))
        await self._accounts.check_available(username)

    def _check_open(self) -> None:
        if not self._settings.enable_registration:
            raise forbidden("Registration is disabled on this homeserver")
        if self._settings.registration_requires_token:
            raise forbidden(
                "Registration on this homeserver needs a token, which is not supported yet:"
                " ask its administrator for an account"
            )


def _any_username() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))


def _refuse_for(retry_after_ms: int) -> None:
    if retry_after_ms:
        raise limit_exceeded("Too many registration attempts", retry_after_ms)
