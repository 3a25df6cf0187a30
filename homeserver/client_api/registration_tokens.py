"""Registration tokens.

Spec: https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import NO_AUTH, Request, endpoint
from homeserver.services.registration import Registration
from homeserver.services.registration_tokens import RegistrationTokens


class ValidityQuery(Struct):
    """The token."""

    token: str


@endpoint(
    "GET",
    "/_matrix/client/v1/register/m.login.registration_token/validity",
    auth=NO_AUTH,
)
async def registration_token_validity(
    request: Request, query: ValidityQuery, tokens: RegistrationTokens, registration: Registration
) -> dict[str, Any]:
    """Whether a token lets register.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
    """
    registration.check_open()
    return {"valid": await tokens.is_valid(query.token, request.address)}
