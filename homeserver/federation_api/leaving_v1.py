"""Leaving rooms: the template, and the older form of sending the event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
"""

from __future__ import annotations

from typing import Any

from homeserver.federation_api.answers import event_id_of, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.resident import Resident


@endpoint("GET", "/_matrix/federation/v1/make_leave/{room_id}/{user_id}", auth=SIGNED_REQUEST)
async def make_leave(request: Request, room_id: str, user_id: str, resident: Resident) -> dict[str, Any]:
    """The template of a leave event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
    """
    return await resident.make_leave(request.origin, room_id_of(room_id), user_id)


@endpoint("PUT", "/_matrix/federation/v1/send_leave/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_leave_v1(
    request: Request, room_id: str, event_id: str, body: dict[str, Any], resident: Resident
) -> list[Any]:
    """Submit a signed leave event, for servers that do not know the second version yet; the answer is `[200, {}]`.

    Spec: https://spec.matrix.org/v1.4/server-server-api/#put_matrixfederationv1send_leaveroomideventid
    """
    await resident.send_leave(request.origin, room_id_of(room_id), event_id_of(event_id), body)
    return [200, {}]
