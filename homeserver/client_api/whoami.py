"""Whose access token this is.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/v3/account/whoami",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/whoami",),
)
async def get_token_owner(request: Request) -> dict[str, Any]:
    """The user and device that the access token belongs to.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
    """
    requester = request.requester
    answer: dict[str, Any] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
    if requester.device_id is not None:
        answer["device_id"] = requester.device_id
    return answer
