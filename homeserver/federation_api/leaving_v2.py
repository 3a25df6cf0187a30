"""Leaving rooms: sending the event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
"""

from __future__ import annotations

from typing import Any

from homeserver.federation_api.answers import event_id_of, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.resident import Resident


@endpoint("PUT", "/_matrix/federation/v2/send_leave/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_leave_v2(
    request: Request, room_id: str, event_id: str, body: dict[str, Any], resident: Resident
) -> dict[str, Any]:
    """Submit a signed leave event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
    """
    await resident.send_leave(request.origin, room_id_of(room_id), event_id_of(event_id), body)
    return {}
