"""Logging out.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.sessions import Sessions


@endpoint("POST", "/_matrix/client/v3/logout", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/logout",))
async def logout(request: Request, sessions: Sessions) -> dict[str, Any]:
    """End the access token of this request, and its device.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
    """
    await sessions.end(request.requester)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/logout/all",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/logout/all",),
)
async def logout_all(request: Request, sessions: Sessions) -> dict[str, Any]:
    """End all access tokens and devices of the user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
    """
    await sessions.end_all(request.requester.user_id)
    return {}
