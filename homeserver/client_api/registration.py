"""Registering an account.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.core.errors import MatrixError
from homeserver.http import NO_AUTH, Request, endpoint
from homeserver.services.registration import NewUser, Registration


class RegisterQuery(Struct):
    """`kind` is user or guest."""

    kind: Literal["user", "guest"] = "user"


class RegisterBody(Struct):
    """The body of a registration; the first request of a client has often none of it."""

    auth: dict[str, Any] | None = None
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool = False


class UsernameQuery(Struct):
    """The name asked about."""

    username: str


@endpoint("POST", "/_matrix/client/v3/register", auth=NO_AUTH, aliases=("/_matrix/client/r0/register",))
async def register(
    request: Request, query: RegisterQuery, body: RegisterBody, registration: Registration
) -> dict[str, Any]:
    """Register an account, with user-interactive authentication. There are no guest accounts.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
    """
    if query.kind == "guest":
        raise MatrixError("M_GUEST_ACCESS_FORBIDDEN", "Guest accounts are disabled on this homeserver", 403)
    user = NewUser(
        username=body.username,
        password=body.password,
        device_id=body.device_id,
        device_name=body.initial_device_display_name,
        inhibit_login=body.inhibit_login,
    )
    registered = await registration.register(user, body.auth, request.address)
    answer = {"user_id": registered.user_id}
    if registered.session is not None:
        answer["access_token"] = registered.session.access_token
        answer["device_id"] = registered.session.device_id
    return answer


@endpoint(
    "GET",
    "/_matrix/client/v3/register/available",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/register/available",),
)
async def check_username_availability(
    request: Request, query: UsernameQuery, registration: Registration
) -> dict[str, Any]:
    """Whether a name can be registered.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
    """
    await registration.check_available(query.username, request.address)
    return {"available": True}
