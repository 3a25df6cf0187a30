"""Users confirm with their password what an access token alone must not be able to do.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from homeserver.core.errors import bad_json, forbidden, guest_access_forbidden, missing_param
from homeserver.core.requester import Requester
from homeserver.services.accounts import Accounts
from homeserver.services.clock import Clock
from homeserver.services.login import Login
from homeserver.services.user_identifiers import PASSWORD, UserIdentifier, named_user
from homeserver.services.user_interactive import UserInteractive, operation_key


class PasswordAuth(Struct):
    """The auth dict of m.login.password. `user` and `medium` are deprecated forms of `identifier`."""

    password: str | None = None
    identifier: UserIdentifier | None = None
    user: str | None = None
    medium: str | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Who has confirmed. session_id: of the authentication that `Confirmation.finish` ends; empty for one of before."""

    user_id: str
    session_id: str


class Confirmation:
    """Asks for the password."""

    def __init__(
        self,
        accounts: Accounts,
        login: Login,
        user_interactive: UserInteractive,
        good_for_ms: int,
        clock: Clock,
    ) -> None:
        """good_for_ms: how long a confirmation is good for what else a session does that may be done so."""
        self._accounts = accounts
        self._login = login
        self._user_interactive = user_interactive
        self._good_for_ms = good_for_ms
        self._clock = clock
        self._confirmed_ms: dict[int, int] = {}  # by the ID of the access token

    async def confirm(
        self,
        operation: str,
        parameters: Mapping[str, Any],
        auth: Mapping[str, Any] | None,
        requester: Requester | None,
        *,
        by_earlier: bool = False,
    ) -> Confirmed:
        """Who has confirmed the operation with these parameters. requester: who asks for it; None: whoever the password says.
        by_earlier: whether another confirmation of the same session's will do, as long as confirmations are good for more.

        Raises AuthenticationRequired; M_FORBIDDEN for a user who has no password, M_GUEST_ACCESS_FORBIDDEN, M_LIMIT_EXCEEDED.
        """
        user_id = None if requester is None else requester.user_id
        if user_id is not None:
            await self._check_has_password(user_id)
        if by_earlier and requester is not None and self._has_confirmed(requester):
            return Confirmed(requester.user_id, "")

        async def check(auth: Mapping[str, Any]) -> str:
            return await self._check_password(auth, user_id)

        authenticated = await self._user_interactive.authenticate(
            operation_key(operation, user_id, parameters), auth, flows=[[PASSWORD]], stages={PASSWORD: check}
        )
        if requester is not None:
            self._note(requester)
        return Confirmed(authenticated.proved[PASSWORD], authenticated.session_id)

    def finish(self, confirmed: Confirmed) -> None:
        """What was confirmed is done: it cannot be done again without another confirmation."""
        self._user_interactive.finish(confirmed.session_id)

    def _note(self, requester: Requester) -> None:
        """Remember that a session has confirmed something; what is good for nothing any more is forgotten."""
        now = self._clock()
        since = now - self._good_for_ms
        self._confirmed_ms = {each: at for each, at in self._confirmed_ms.items() if at > since}
        if self._good_for_ms:
            self._confirmed_ms[requester.token_id] = now

    def _has_confirmed(self, requester: Requester) -> bool:
        at = self._confirmed_ms.get(requester.token_id)
        return at is not None and at > self._clock() - self._good_for_ms

    async def _check_has_password(self, user_id: str) -> None:
        account = await self._accounts.get(user_id)
        if account is not None and account.is_guest:
            raise guest_access_forbidden("Guests cannot do this")
        if account is None or account.password_hash is None:
            raise forbidden("This account has no password, so there is no way to confirm that it is you")

    async def _check_password(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        try:
            given = msgspec.convert(auth, PasswordAuth)
        except msgspec.ValidationError as error:
            raise bad_json(f"auth: {error}") from error
        user = named_user(given.identifier, given.user, given.medium)
        if user is None and user_id is None:
            raise missing_param("The identifier is missing: whose password is it?")
        if given.password is None:
            raise missing_param("The password is missing")
        if user is not None and user_id is not None and self._accounts.user_id_of(user) != user_id:
            raise forbidden("The password of another user confirms nothing")
        return (await self._login.check_password(user or user_id or "", given.password)).user_id
