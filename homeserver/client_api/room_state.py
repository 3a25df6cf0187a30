"""Setting a room's state.

Spec: https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_sending import RoomSending


@endpoint(
    "PUT",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/state/{event_type}/{state_key}",),
    limit="rc_message",
)
@endpoint(
    "PUT",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/state/{event_type}",),
    limit="rc_message",
)
async def set_room_state_with_key(
    request: Request,
    room_id: str,
    event_type: str,
    body: dict[str, Any],
    sending: RoomSending,
    state_key: str = "",
) -> dict[str, Any]:
    """Set state; the body is the event's content. "When an empty string, the trailing slash [...] is optional."

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
    """
    return {"event_id": await sending.state(request.requester, room_id, event_type, state_key, body)}
