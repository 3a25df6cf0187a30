"""Redacting events.

Spec: https://spec.matrix.org/v1.19/client-server-api/#redactions
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_sending import RoomSending

OF_OTHERS = "rc_admin_redaction"
"""The limit, where it is set, for redactions of what others sent."""


class RedactBody(Struct):
    """Why."""

    reason: str | None = None


@endpoint(
    "PUT",
    "/_matrix/client/v3/rooms/{room_id}/redact/{event_id}/{txn_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/redact/{event_id}/{txn_id}",),
)
async def redact_event(
    request: Request, room_id: str, event_id: str, txn_id: str, body: RedactBody, sending: RoomSending
) -> dict[str, Any]:
    """Strip an event of what is not needed for the room to hold together.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
    """
    of_another = request.has_limit(OF_OTHERS) and await sending.is_of_another(request.requester, event_id)
    request.count(OF_OTHERS if of_another else "rc_message")
    return {"event_id": await sending.redaction(request.requester, room_id, event_id, txn_id, body.reason)}
