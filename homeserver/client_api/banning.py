"""Banning users from rooms, and lifting bans.

Spec: https://spec.matrix.org/v1.19/client-server-api/#banning-users-in-a-room
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


class BanBody(Struct):
    """Who is banned, or is no longer, and why."""

    user_id: str
    reason: str | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/ban",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/ban",),
)
async def ban(request: Request, room_id: str, body: BanBody, membership: Membership) -> dict[str, Any]:
    """Ban a user from a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
    """
    await membership.ban(request.requester.user_id, room_id, body.user_id, body.reason)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/unban",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/unban",),
)
async def unban(request: Request, room_id: str, body: BanBody, membership: Membership) -> dict[str, Any]:
    """Lift the ban of a user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
    """
    await membership.unban(request.requester.user_id, room_id, body.user_id, body.reason)
    return {}
