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
from homeserver.core.errors import (
    MatrixError,
    forbidden,
    guest_access_forbidden,
    invalid_param,
    limit_exceeded,
    missing_param,
)
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.accounts import Accounts, check_password_form
from homeserver.services.registration_tokens import STAGE as TOKEN_STAGE
from homeserver.services.registration_tokens import RegistrationTokens
from homeserver.services.sessions import ANY_DEVICE, ClientDevice, Session, Sessions, check_device_id
from homeserver.services.user_interactive import DUMMY, UserInteractive, dummy_stage
from homeserver.storage.database import Transaction

OPERATION = "register"
# Asking whether a name is free is cheap, but it lists our users to whoever asks often enough.
AVAILABILITY_LIMIT = RateLimit(per_second=1, burst_count=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """Who wants an account: the body of a registration request."""

    username: str | None = None
    password: str | None = None
    device: ClientDevice = ANY_DEVICE
    inhibit_login: bool = False
    guest_access_token: str | None = None


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
        tokens: RegistrationTokens,
        settings: RegistrationSettings,
        limit: RateLimit,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._user_interactive = user_interactive
        self._tokens = tokens
        self._settings = settings
        self._by_address = TokenBuckets(limit)
        self._availability = TokenBuckets(AVAILABILITY_LIMIT)
        self._monotonic = monotonic

    async def register(self, user: NewUser, auth: Mapping[str, Any] | None, address: str) -> Registered:
        """Register an account once the client has authenticated; `address` is the client's.

        Raises M_FORBIDDEN when registration is closed, M_LIMIT_EXCEEDED, M_INVALID_USERNAME, M_USER_IN_USE,
        M_INVALID_PARAM, M_MISSING_PARAM, and AuthenticationRequired; M_UNKNOWN_TOKEN for a guest's token that is not known.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
        """
        self.check_open()
        _refuse_for(self._by_address.wait_ms(address, self._monotonic()))
        guest = await self._check_before(user)

        async def token_stage(auth: Mapping[str, Any]) -> str:
            return await self._tokens.stage(auth, address)

        wanted = TOKEN_STAGE if self._settings.registration_requires_token else DUMMY
        authenticated = await self._user_interactive.authenticate(
            OPERATION, auth, flows=[[wanted]], stages={DUMMY: dummy_stage, TOKEN_STAGE: token_stage}
        )
        if user.password is None:
            raise missing_param("A password is needed to register")
        _refuse_for(self._by_address.take(address, self._monotonic()))
        token = authenticated.proved.get(TOKEN_STAGE)

        async def use_token(tx: Transaction) -> None:
            if token is not None:
                await self._tokens.use(tx, token)

        try:
            if guest is None:
                name = user.username or _any_username()
                user_id = await self._accounts.create(name, user.password, also=use_token)
            else:
                user_id = guest
                await self._accounts.end_guest(guest, user.password, use_token)
                self._sessions.forget(guest)
        except MatrixError as refused:
            # The token has been used up meanwhile, or the guest is none any more: nothing can come of this session.
            if refused.errcode == "M_FORBIDDEN":
                self._user_interactive.finish(authenticated.session_id)
            raise
        self._user_interactive.finish(authenticated.session_id)
        if user.inhibit_login:
            return Registered(user_id, None)
        return Registered(user_id, await self._sessions.start(user_id, user.device))

    async def register_guest(self, device_name: str | None, address: str) -> Registered:
        """Make an account that may look around. Raises M_GUEST_ACCESS_FORBIDDEN where there are none, M_LIMIT_EXCEEDED.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
        """
        if not self._settings.allow_guest_access:
            raise guest_access_forbidden("Guest accounts are disabled on this homeserver")
        _refuse_for(self._by_address.take(address, self._monotonic()))
        user_id = await self._accounts.create(_any_guest(), None, is_guest=True)
        device = ClientDevice(name=device_name)
        return Registered(user_id, await self._sessions.start(user_id, device, is_guest=True))

    async def _check_before(self, user: NewUser) -> str | None:
        """What is checked before the authentication; the guest who becomes a user, if it is one.

        "Homeservers MUST perform the relevant checks and return these codes before performing User-Interactive Authentication"
        """
        guest = None
        if user.guest_access_token is not None:
            guest = await self._guest(user.guest_access_token, user.username)
        elif user.username is not None:
            await self._accounts.check_available(user.username)
        if user.password is not None:
            check_password_form(user.password)
        if user.device.device_id is not None:
            check_device_id(user.device.device_id)
        return guest

    async def _guest(self, access_token: str, username: str | None) -> str:
        """The guest whose token this is. "They are also required to specify the username parameter to the value of the local part
        of their username".
        """
        guest = await self._sessions.authenticate(access_token)
        if not guest.is_guest:
            raise forbidden("The guest_access_token is not a guest's")
        if username is None or self._accounts.user_id_of(username) != guest.user_id:
            raise invalid_param("The username of a guest who becomes a user must be the guest's own")
        return guest.user_id

    async def check_available(self, username: str, address: str) -> None:
        """Raises M_USER_IN_USE, M_INVALID_USERNAME, M_LIMIT_EXCEEDED, M_FORBIDDEN unless the name can be
        registered.
        """
        self.check_open()
        _refuse_for(self._availability.take(address, self._monotonic()))
        await self._accounts.check_available(username)

    def check_open(self) -> None:
        """Raises M_FORBIDDEN when registration is closed."""
        if not self._settings.enable_registration:
            raise forbidden("Registration is disabled on this homeserver")


def _any_username() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))


def _any_guest() -> str:
    """Guests are numbers, as clients know them."""
    return "".join(secrets.choice(string.digits) for _ in range(12))


def _refuse_for(retry_after_ms: int) -> None:
    if retry_after_ms:
        raise limit_exceeded("Too many registration attempts", retry_after_ms)
