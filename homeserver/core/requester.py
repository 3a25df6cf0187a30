"""Who makes a client API request."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core.errors import forbidden


@dataclass(frozen=True, slots=True)
class Requester:
    """The account and device behind an access token.

    `user_id` is a full user ID, `device_id` the device the token belongs to (None for a token without a
    device), `token_id` the number of the stored access token, which is never shown to anyone.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#client-authentication
    """

    user_id: str
    device_id: str | None
    token_id: int
    is_guest: bool = False
    is_admin: bool = False
    is_locked: bool = False
    is_suspended: bool = False

    @property
    def transaction_scope(self) -> str:
        """The device that transaction IDs are of; a token without a device stands for one.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
        """
        return self.device_id if self.device_id is not None else f"\x01token {self.token_id}"

    def check_is_admin(self) -> None:
        """Raises M_FORBIDDEN unless the account is that of an administrator of this server."""
        if not self.is_admin:
            raise forbidden("You are not a server admin")
