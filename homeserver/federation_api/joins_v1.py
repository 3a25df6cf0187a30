"""Joining rooms: the template, and the older form of sending the event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.config import ServerSettings
from homeserver.federation_api.answers import event_id_of, room_id_of
from homeserver.federation_api.joins_v2 import joined
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.resident import Resident


class MakeJoinQuery(msgspec.Struct, frozen=True):
    """The room versions that the asking server supports. "Defaults to [1]." """

    ver: list[str] = msgspec.field(default_factory=lambda: ["1"])


@endpoint("GET", "/_matrix/federation/v1/make_join/{room_id}/{user_id}", auth=SIGNED_REQUEST)
async def make_join(
    request: Request, room_id: str, user_id: str, query: MakeJoinQuery, resident: Resident
) -> dict[str, Any]:
    """The template of a join event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    return await resident.make_join(request.origin, room_id_of(room_id), user_id, query.ver)


@endpoint("PUT", "/_matrix/federation/v1/send_join/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_join_v1(
    request: Request,
    room_id: str,
    event_id: str,
    body: dict[str, Any],
    resident: Resident,
    settings: ServerSettings,
) -> list[Any]:
    """Submit a signed join event, for servers that do not know the second version yet; the answer is `[200, {...}]`.

    Spec: https://spec.matrix.org/v1.4/server-server-api/#put_matrixfederationv1send_joinroomideventid
    """
    answer = await resident.send_join(request.origin, room_id_of(room_id), event_id_of(event_id), body)
    return [200, joined(settings.server_name, answer)]
