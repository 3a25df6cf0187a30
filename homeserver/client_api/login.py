"""Logging in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.client_api.answers import session_answer
from homeserver.core.errors import missing_param, unknown
from homeserver.http import NO_AUTH, Request, endpoint
from homeserver.services.last_seen import LastSeen
from homeserver.services.login import Login
from homeserver.services.login_tokens import LoginTokens
from homeserver.services.sessions import ClientDevice
from homeserver.services.user_identifiers import PASSWORD, UserIdentifier, named_user

TOKEN = "m.login.token"


class LoginBody(Struct):
    """The body of a login. `user`, `medium` and `address` are the deprecated forms of `identifier`."""

    type: str
    identifier: UserIdentifier | None = None
    user: str | None = None
    medium: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    token: str | None = None
    refresh_token: bool = False


@endpoint("GET", "/_matrix/client/v3/login", auth=NO_AUTH, aliases=("/_matrix/client/r0/login",))
async def get_login_flows(tokens: LoginTokens) -> dict[str, Any]:
    """The ways to log in.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
    """
    flows: list[dict[str, Any]] = [{"type": PASSWORD}]
    if tokens.is_enabled:
        flows.append({"type": TOKEN, "get_login_token": True})
    return {"flows": flows}


@endpoint(
    "POST",
    "/_matrix/client/v3/login",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/login",),
    limit="rc_login.address",
)
async def login(
    request: Request, body: LoginBody, service: Login, tokens: LoginTokens, last_seen: LastSeen
) -> dict[str, Any]:
    """Log in, with a password or with a token that another client of the user has asked for.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
    """
    device = ClientDevice(
        device_id=body.device_id,
        name=body.initial_device_display_name,
        refreshable=body.refresh_token,
    )
    if body.type == TOKEN and tokens.is_enabled:
        if body.token is None:
            raise missing_param("The token is missing")
        session = await service.with_token(body.token, device)
    elif body.type == PASSWORD:
        user = named_user(body.identifier, body.user, body.medium)
        if user is None:
            raise missing_param("The identifier is missing")
        if body.password is None:
            raise missing_param("The password is missing")
        session = await service.with_password(user, body.password, device)
    else:
        raise unknown(f"Unknown login type {body.type[:100]!r}; GET /login lists those that there are", 400)
    last_seen.note(session, request.address, request.headers.get("User-Agent"))
    return {"user_id": session.user_id, "device_id": session.device_id, **session_answer(session)}
