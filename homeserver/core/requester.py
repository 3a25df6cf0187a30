"""Who makes a client API request."""

from __future__ import annotations

from dataclasses import dataclass


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
