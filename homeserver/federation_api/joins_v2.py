"""Joining rooms: sending the event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.config import ServerSettings
from homeserver.federation_api.answers import event_id_of, pdus, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.resident import JoinAnswer, Resident


@endpoint("PUT", "/_matrix/federation/v2/send_join/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_join_v2(
    request: Request,
    room_id: str,
    event_id: str,
    body: dict[str, Any],
    resident: Resident,
    settings: ServerSettings,
) -> dict[str, Any]:
    """Submit a signed join event. `omit_members` says what the asking server can take; it gets the complete state.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
    """
    answer = await resident.send_join(request.origin, room_id_of(room_id), event_id_of(event_id), body)
    return joined(settings.server_name, answer)


def joined(origin: str, answer: JoinAnswer) -> dict[str, Any]:
    """The room's state before the join, in the form of the answer."""
    return {
        "origin": origin,
        "auth_chain": pdus(answer.auth_chain),
        "state": pdus(answer.state),
        "event": msgspec.Raw(answer.event.canonical),
        "members_omitted": False,
        "servers_in_room": answer.servers_in_room,
    }
