"""Tokens that log in another client.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.confirmation import Confirmation
from homeserver.services.login_tokens import LoginTokens


class TokenBody(Struct):
    """Proof that it is the user who wants it."""

    auth: dict[str, Any] | None = None


@endpoint("POST", "/_matrix/client/v1/login/get_token", auth=ACCESS_TOKEN)
async def generate_login_token(
    request: Request, body: TokenBody, tokens: LoginTokens, confirmation: Confirmation
) -> dict[str, Any]:
    """A token with which another client logs in as the same user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
    """
    tokens.check_enabled()
    confirmed = None
    if tokens.need_password:
        confirmed = await confirmation.confirm("get_token", {}, body.auth, request.requester)
    token, lifetime_ms = await tokens.generate(request.requester.user_id)
    if confirmed is not None:
        confirmation.finish(confirmed)
    return {"login_token": token, "expires_in_ms": lifetime_ms}
