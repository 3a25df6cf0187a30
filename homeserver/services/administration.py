"""What administrators do with the accounts of others, by the specification: look at their devices, lock and suspend them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-administration
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from homeserver.core.errors import forbidden, invalid_param, not_found
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.core.requester import Requester
from homeserver.services.devices import Devices
from homeserver.storage import accounts
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import Device


class Administration:
    """Looks after the accounts of this server, for its administrators."""

    def __init__(self, database: Database, devices: Devices, server_name: str) -> None:
        self._database = database
        self._devices = devices
        self._server_name = server_name

    async def who_is(self, requester: Requester, user_id: str) -> list[Device]:
        """A user's devices: for administrators, and for the user. Raises M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND."""
        if not requester.is_admin and requester.user_id != user_id:
            raise forbidden("Only server administrators may look at others")
        await self._database.read(lambda tx: self._account(tx, user_id))
        return await self._devices.of_user(user_id)

    async def account(self, requester: Requester, user_id: str) -> Account:
        """An account that the requester may moderate. Raises M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND."""
        _check_is_admin(requester)
        return await self._database.read(lambda tx: self._moderated(tx, requester, user_id))

    async def set_locked(self, requester: Requester, user_id: str, is_locked: bool) -> None:
        """Keep a user out, or no longer. Raises M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#account-locking
        """
        await self._set(requester, user_id, lambda tx: accounts.set_locked(tx, user_id, is_locked))

    async def set_suspended(self, requester: Requester, user_id: str, is_suspended: bool) -> None:
        """Keep a user from writing, or no longer. Raises M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#account-suspension
        """
        await self._set(requester, user_id, lambda tx: accounts.set_suspended(tx, user_id, is_suspended))

    async def _set(
        self, requester: Requester, user_id: str, change: Callable[[Transaction], Awaitable[None]]
    ) -> None:
        _check_is_admin(requester)
        if requester.user_id == user_id:
            raise forbidden("Server administrators cannot do this to themselves")

        async def work(tx: Transaction) -> None:
            await self._moderated(tx, requester, user_id)
            await change(tx)

        await self._database.write(work)
        self._devices.forget(user_id)

    async def _moderated(self, tx: Transaction, requester: Requester, user_id: str) -> Account:
        account = await self._account(tx, user_id)
        if account.is_admin and account.user_id != requester.user_id:
            raise forbidden("The user is a server administrator too")
        return account

    async def _account(self, tx: Transaction, user_id: str) -> Account:
        if not is_valid_user_id(user_id) or domain_of(user_id) != self._server_name:
            raise invalid_param("User does not belong to the local server.")
        account = await accounts.get(tx, user_id)
        if account is None or account.is_deactivated:
            raise not_found("User not found.")
        return account


def _check_is_admin(requester: Requester) -> None:
    """ "authorisation is checked prior to trying to do account lookups" """
    if not requester.is_admin:
        raise forbidden("Requesting user is not a server administrator.")
