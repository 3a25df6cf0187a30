"""Logging in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.core.errors import bad_json, forbidden, missing_param, unknown
from homeserver.http import NO_AUTH, endpoint
from homeserver.services.login import Login

PASSWORD = "m.login.password"


class UserIdentifier(Struct):
    """Who logs in. Spec: https://spec.matrix.org/v1.19/client-server-api/#identifier-types"""

    type: str | None = None
    user: str | None = None
    medium: str | None = None


class LoginBody(Struct):
    """The body of a login. `user`, `medium` and `address` are the deprecated forms of `identifier`."""

    type: str
    identifier: UserIdentifier | None = None
    user: str | None = None
    medium: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None


@endpoint("GET", "/_matrix/client/v3/login", auth=NO_AUTH, aliases=("/_matrix/client/r0/login",))
async def get_login_flows() -> dict[str, Any]:
    """The ways to log in.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
    """
    return {"flows": [{"type": PASSWORD}]}


@endpoint(
    "POST",
    "/_matrix/client/v3/login",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/login",),
    limit="rc_login.address",
)
async def login(body: LoginBody, service: Login) -> dict[str, Any]:
    """Log in with a password.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
    """
    if body.type != PASSWORD:
        raise unknown(f"Unknown login type {body.type[:100]!r}; GET /login lists those that there are", 400)
    user = _user_of(body)
    if body.password is None:
        raise missing_param("The password is missing")
    session = await service.with_password(
        user,
        body.password,
        device_id=body.device_id,
        device_name=body.initial_device_display_name,
    )
    return {
        "user_id": session.user_id,
        "access_token": session.access_token,
        "device_id": session.device_id,
    }


def _user_of(body: LoginBody) -> str:
    """The user ID or localpart that was given."""
    identifier = body.identifier
    if identifier is None:
        if body.user is not None:
            return body.user
        if body.medium is not None:
            raise _no_such_identifier()
        raise missing_param("The identifier is missing")
    if identifier.type == "m.id.user":
        if identifier.user is None:
            raise missing_param("The identifier has no user")
        return identifier.user
    if identifier.type in ("m.id.thirdparty", "m.id.phone") or identifier.medium is not None:
        raise _no_such_identifier()
    raise bad_json("Unknown type of identifier; m.id.user is known - at `$.identifier.type`")


def _no_such_identifier() -> Exception:
    # "In the case that the homeserver does not know about the supplied 3PID, the homeserver must respond with
    # 403 Forbidden." It knows none.
    return forbidden("No account has this third-party identifier")
