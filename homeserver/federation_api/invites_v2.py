"""Invites of our users by other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.federation_api.answers import event_id_of, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.inbound_invites import InboundInvites


class InviteBody(msgspec.Struct, frozen=True):
    """The room's version, the invite, and what describes the room."""

    room_version: str
    event: dict[str, Any]
    invite_room_state: list[Any] = msgspec.field(default_factory=list)


@endpoint("PUT", "/_matrix/federation/v2/invite/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_invite_v2(
    request: Request, room_id: str, event_id: str, body: InviteBody, invites: InboundInvites
) -> dict[str, Any]:
    """Sign an invite of a user of ours, and tell the user.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    signed = await invites.take(
        request.origin,
        room_id_of(room_id),
        event_id_of(event_id),
        body.event,
        body.invite_room_state,
        version=body.room_version,
    )
    return {"event": msgspec.Raw(signed.canonical)}
