"""The rooms a user is in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


@endpoint(
    "GET", "/_matrix/client/v3/joined_rooms", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/joined_rooms",)
)
async def get_joined_rooms(request: Request, membership: Membership) -> dict[str, Any]:
    """The IDs of the rooms that the user is joined to.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
    """
    return {"joined_rooms": await membership.joined_rooms(request.requester.user_id)}
