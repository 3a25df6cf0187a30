"""Refreshing access tokens.

Spec: https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.client_api.answers import session_answer
from homeserver.http import NO_AUTH, endpoint
from homeserver.services.sessions import Sessions


class RefreshBody(Struct):
    """The refresh token."""

    refresh_token: str


@endpoint("POST", "/_matrix/client/v3/refresh", auth=NO_AUTH, aliases=("/_matrix/client/r0/refresh",))
async def refresh(body: RefreshBody, sessions: Sessions) -> dict[str, Any]:
    """New tokens for a refresh token.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
    """
    return session_answer(await sessions.refresh(body.refresh_token))
