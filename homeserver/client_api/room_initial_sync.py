"""A room at once: for who looks into it without being in it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.initial_sync import InitialSync


class RoomInitialSyncQuery(Struct):
    """How many messages."""

    limit: Annotated[int, Meta(ge=0)] | None = None


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/initialSync",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/initialSync",),
)
async def room_initial_sync(
    request: Request, room_id: str, query: RoomInitialSyncQuery, service: InitialSync
) -> dict[str, Any]:
    """The state and the latest messages of a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
    """
    return await service.room(request.requester, room_id, limit=query.limit)
