"""Third-party identifiers of the account.

Spec: https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.core.errors import MatrixError
from homeserver.http import ACCESS_TOKEN, NO_AUTH, Request, endpoint
from homeserver.services.third_party_identifiers import EmailRequest, PhoneRequest, ThirdPartyIdentifiers


class AddBody(Struct):
    """The session with this server in which the identifier was verified."""

    client_secret: str
    sid: str
    auth: dict[str, Any] | None = None


class BindBody(Struct):
    """The session with an identity server in which the identifier was verified."""

    client_secret: str
    id_server: str
    sid: str
    id_access_token: str | None = None


class CredentialsBody(Struct):
    """The older form of BindBody."""

    three_pid_creds: BindBody


class IdentifierBody(Struct):
    """An identifier, and the identity server that is to forget it."""

    medium: Literal["email", "msisdn"]
    address: str
    id_server: str | None = None


# "If the homeserver does not know the original id_server, it MUST return a id_server_unbind_result of no-support." No identifier is
# in the account or bound to it, so there is nothing to remove.
_NOTHING_TO_UNBIND = {"id_server_unbind_result": "no-support"}


@endpoint(
    "GET",
    "/_matrix/client/v3/account/3pid",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid",),
)
async def get_account_3pids() -> dict[str, Any]:
    """The identifiers of the account: none, since this server can verify none.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
    """
    return {"threepids": []}


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid",),
)
async def post_3pids(body: CredentialsBody) -> dict[str, Any]:
    """Add an identifier that an identity server has verified: this server asks none.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid
    """
    raise MatrixError(
        "M_THREEPID_AUTH_FAILED", "The credentials cannot be verified: no identity server is trusted", 403
    )


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/add",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid/add",),
)
async def add_3pid(request: Request, body: AddBody, identifiers: ThirdPartyIdentifiers) -> dict[str, Any]:
    """Add an identifier that this server has verified.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
    """
    await identifiers.add(request.requester, body.sid, body.client_secret, body.auth)


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/bind",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid/bind",),
)
async def bind_3pid(body: BindBody, identifiers: ThirdPartyIdentifiers) -> dict[str, Any]:
    """Let an identity server know whose an identifier is.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind
    """
    identifiers.bind(body.sid, body.client_secret)


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/delete",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid/delete",),
)
async def delete_3pid_from_account(body: IdentifierBody) -> dict[str, Any]:
    """Remove an identifier from the account.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
    """
    return _NOTHING_TO_UNBIND


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/unbind",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/3pid/unbind",),
)
async def unbind_3pid_from_account(body: IdentifierBody) -> dict[str, Any]:
    """Let an identity server forget whose an identifier is.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind
    """
    return _NOTHING_TO_UNBIND


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/email/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/account/3pid/email/requestToken",),
)
async def request_token_to_3pid_email(
    request: Request, body: EmailRequest, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Verify an e-mail address that is to be added.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
    """
    identifiers.request_message(body, is_for_password=False, address=request.address)


@endpoint(
    "POST",
    "/_matrix/client/v3/account/3pid/msisdn/requestToken",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/account/3pid/msisdn/requestToken",),
)
async def request_token_to_3pid_msisdn(
    request: Request, body: PhoneRequest, identifiers: ThirdPartyIdentifiers
) -> dict[str, Any]:
    """Verify a phone number that is to be added.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken
    """
    identifiers.request_message(body, is_for_password=False, address=request.address)
