"""Leaving rooms, and forgetting them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


class LeaveBody(Struct):
    """Why."""

    reason: str | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/leave",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/leave",),
)
async def leave_room(
    request: Request, room_id: str, body: LeaveBody, membership: Membership
) -> dict[str, Any]:
    """Leave a room, or refuse its invite.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
    """
    await membership.leave(request.requester.user_id, room_id, body.reason)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/forget",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/forget",),
)
async def forget_room(request: Request, room_id: str, membership: Membership) -> dict[str, Any]:
    """Forget a room that was left.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
    """
    await membership.forget(request.requester.user_id, room_id)
    return {}
