"""Sending events that are not state.

Spec: https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_sending import RoomSending


@endpoint(
    "PUT",
    "/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/send/{event_type}/{txn_id}",),
    limit="rc_message",
)
async def send_message(
    request: Request, room_id: str, event_type: str, txn_id: str, body: dict[str, Any], sending: RoomSending
) -> dict[str, Any]:
    """Send an event; the body is its content.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
    """
    return {"event_id": await sending.message(request.requester, room_id, event_type, txn_id, body)}
