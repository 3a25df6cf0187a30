"""Registering an account.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.client_api.answers import session_answer
from homeserver.http import NO_AUTH, Request, endpoint
from homeserver.services.last_seen import LastSeen
from homeserver.services.registration import NewUser, Registered, Registration
from homeserver.services.sessions import ClientDevice
from homeserver.services.third_party_identifiers import EmailRequest, PhoneRequest, ThirdPartyIdentifiers


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
    refresh_token: bool = False
    guest_access_token: str | None = None


class UsernameQuery(Struct):
    """The name asked about."""

    username: str


@endpoint("POST", "/_matrix/client/v3/register", auth=NO_AUTH, aliases=("/_matrix/client/r0/register",))
async def register(
    request: Request,
    query: RegisterQuery,
    body: RegisterBody,
    registration: Registration,
    last_seen: LastSeen,
) -> dict[str, Any]:
    """Register an account, with user-interactive authentication; a guest's without.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
    """
    if query.kind == "guest":
        # "all parameters in the request body with the exception of initial_device_display_name MUST BE ignored"
        guest = await registration.register_guest(body.initial_device_display_name, request.address)
        return _answer(guest, request, last_seen)
    user = NewUser(
        username=body.username,
        password=body.password,
        device=ClientDevice(
            device_id=body.device_id,
            name=body.initial_device_display_name,
            refreshable=body.refresh_token,
        ),
        inhibit_login=body.inhibit_login,
        guest_access_token=body.guest_access_token,
    )
    return _answer(await registration.register(user, body.auth, request.address), request, last_seen)


def _answer(registered: Registered, request: Request, last_seen: LastSeen) -> dict[str, Any]:
    answer: dict[str, Any] = {"user_id": registered.user_id}
    if registered.session is not None:
        last_seen.note(registered.session, request.address, request.headers.get("User-Agent"))
        answer |= {"device_id": registered.session.device_id, **session_answer(registered.session)}
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


@endpoint(
    "POST",
    "/_matrix/client/v3/register/email/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/register/email/requestToken",),
)
async def request_token_to_register_email(
    request: Request, body: EmailRequest, registration: Registration, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Verify an e-mail address for a registration.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
    """
    registration.check_open()
    identifiers.request_message(body, is_for_password=False, address=request.address)


@endpoint(
    "POST",
    "/_matrix/client/v3/register/msisdn/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/register/msisdn/requestToken",),
)
async def request_token_to_register_msisdn(
    request: Request, body: PhoneRequest, registration: Registration, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Verify a phone number for a registration.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registermsisdnrequesttoken
    """
    registration.check_open()
    identifiers.request_message(body, is_for_password=False, address=request.address)
