"""Rooms that two users are in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.mutual_rooms import MutualRooms


class MutualRoomsQuery(Struct):
    """With whom, and from which token on."""

    user_id: str
    start: str | None = field(name="from", default=None)


@endpoint("GET", "/_matrix/client/v1/mutual_rooms", auth=ACCESS_TOKEN)
async def get_mutual_rooms(
    request: Request, query: MutualRoomsQuery, mutual_rooms: MutualRooms
) -> dict[str, Any]:
    """The rooms that the requester shares with another user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
    """
    return await mutual_rooms.page(request.requester.user_id, query.user_id, query.start)
