"""Removing users from rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


class KickBody(Struct):
    """Who is removed, and why."""

    user_id: str
    reason: str | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/kick",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/kick",),
)
async def kick(request: Request, room_id: str, body: KickBody, membership: Membership) -> dict[str, Any]:
    """Remove a user from a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
    """
    await membership.kick(request.requester.user_id, room_id, body.user_id, body.reason)
    return {}
