"""OpenID tokens: whose they are.

Spec: https://spec.matrix.org/v1.19/server-server-api/#openid
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import NO_AUTH, endpoint
from homeserver.services.openid import OpenIdTokens


class UserInfoQuery(Struct):
    """The token."""

    access_token: str


@endpoint("GET", "/_matrix/federation/v1/openid/userinfo", auth=NO_AUTH)
async def exchange_open_id_token(query: UserInfoQuery, tokens: OpenIdTokens) -> dict[str, Any]:
    """The user who has requested a token.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
    """
    return {"sub": await tokens.owner(query.access_token)}
