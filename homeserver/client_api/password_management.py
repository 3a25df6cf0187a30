"""The password.

Spec: https://spec.matrix.org/v1.19/client-server-api/#password-management
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import NO_AUTH, OPTIONAL_ACCESS_TOKEN, Request, endpoint
from homeserver.services.password_change import PasswordChange
from homeserver.services.third_party_identifiers import EmailRequest, PhoneRequest, ThirdPartyIdentifiers


class PasswordBody(Struct):
    """The new password, and whether the user's other devices are logged out."""

    new_password: str
    logout_devices: bool = True
    auth: dict[str, Any] | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/account/password",
    auth=OPTIONAL_ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/password",),
)
async def change_password(request: Request, body: PasswordBody, passwords: PasswordChange) -> dict[str, Any]:
    """Change the password.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
    """
    await passwords.change(
        body.new_password,
        logout_devices=body.logout_devices,
        auth=body.auth,
        requester=request.requester_or_none,
    )
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/account/password/email/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/account/password/email/requestToken",),
)
async def request_token_to_reset_password_email(
    request: Request, body: EmailRequest, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Prove by an e-mail address of the account that it is one's own: no account here has one.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken
    """
    identifiers.request_message(body, is_for_password=True, address=request.address)


@endpoint(
    "POST",
    "/_matrix/client/v3/account/password/msisdn/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/account/password/msisdn/requestToken",),
)
async def request_token_to_reset_password_msisdn(
    request: Request, body: PhoneRequest, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Prove by a phone number of the account that it is one's own: no account here has one.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordmsisdnrequesttoken
    """
    identifiers.request_message(body, is_for_password=True, address=request.address)
