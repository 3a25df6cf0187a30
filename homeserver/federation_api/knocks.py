"""Knocking on rooms that we are in.

Spec: https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.federation_api.answers import event_id_of, pdus, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.resident import Resident


class MakeKnockQuery(msgspec.Struct, frozen=True):
    """The room versions that the asking server supports."""

    ver: list[str]


@endpoint("GET", "/_matrix/federation/v1/make_knock/{room_id}/{user_id}", auth=SIGNED_REQUEST)
async def make_knock(
    request: Request, room_id: str, user_id: str, query: MakeKnockQuery, resident: Resident
) -> dict[str, Any]:
    """The template of a knock event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
    """
    return await resident.make_knock(request.origin, room_id_of(room_id), user_id, query.ver)


@endpoint("PUT", "/_matrix/federation/v1/send_knock/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_knock(
    request: Request, room_id: str, event_id: str, body: dict[str, Any], resident: Resident
) -> dict[str, Any]:
    """Submit a signed knock event; the answer describes the room.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
    """
    told = await resident.send_knock(request.origin, room_id_of(room_id), event_id_of(event_id), body)
    return {"knock_room_state": pdus(told)}
