"""Read markers: how far users have read rooms without leaving anything out.

Spec: https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from homeserver.core.receipts import FULLY_READ, READ, READ_PRIVATE
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.receipts import Receipts


class MarkersBody(Struct):
    """The IDs of the events to which the markers go."""

    fully_read: str | None = field(default=None, name=FULLY_READ)
    read: str | None = field(default=None, name=READ)
    read_private: str | None = field(default=None, name=READ_PRIVATE)


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/read_markers",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/read_markers",),
)
async def set_read_marker(
    request: Request, room_id: str, body: MarkersBody, receipts: Receipts
) -> dict[str, Any]:
    """Set the read marker of a room, and receipts with it.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
    """
    markers = {FULLY_READ: body.fully_read, READ: body.read, READ_PRIVATE: body.read_private}
    await receipts.set_markers(
        request.requester,
        room_id,
        {kind: event_id for kind, event_id in markers.items() if event_id is not None},
    )
    return {}
