"""OpenID tokens.

Spec: https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.openid import OpenIdTokens


@endpoint(
    "POST",
    "/_matrix/client/v3/user/{user_id}/openid/request_token",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/openid/request_token",),
)
async def request_open_id_token(request: Request, user_id: str, tokens: OpenIdTokens) -> dict[str, Any]:
    """A token by which another service learns from this server whose it is.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
    """
    token, server_name, expires_in = await tokens.request(request.requester, user_id)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": server_name,
        "expires_in": expires_in,
    }
