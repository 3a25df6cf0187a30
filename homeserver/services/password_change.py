"""Changing the password.

Spec: https://spec.matrix.org/v1.19/client-server-api/#password-management
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.requester import Requester
from homeserver.services.accounts import Accounts, check_password_form
from homeserver.services.confirmation import Confirmation
from homeserver.services.devices import Devices
from homeserver.storage import expiring_tokens
from homeserver.storage.database import Transaction


class PasswordChange:
    """Changes passwords."""

    def __init__(self, accounts: Accounts, confirmation: Confirmation, devices: Devices) -> None:
        self._accounts = accounts
        self._confirmation = confirmation
        self._devices = devices

    async def change(
        self,
        new_password: str,
        *,
        logout_devices: bool,
        auth: Mapping[str, Any] | None,
        requester: Requester | None,
    ) -> None:
        """Give the user another password. logout_devices: the user's other devices are logged out.

        Raises M_INVALID_PARAM for what cannot be a password, and what `Confirmation.confirm` does.
        """
        check_password_form(new_password)
        parameters = {"new_password": new_password, "logout_devices": logout_devices}
        confirmed = await self._confirmation.confirm("password", parameters, auth, requester)
        user_id = confirmed.user_id

        async def log_out(tx: Transaction) -> None:
            # Whoever knew the old password may have asked for one, and not have used it yet.
            await expiring_tokens.remove_of_user(tx, user_id)
            if logout_devices:
                await self._devices.remove_all(tx, user_id, but=requester)

        await self._accounts.set_password(user_id, new_password, also=log_out)
        self._devices.forget(user_id)
        self._confirmation.finish(confirmed)
