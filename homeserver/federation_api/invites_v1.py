"""Invites of our users by servers that know the first version of the endpoint alone.

Spec: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.federation_api.answers import event_id_of, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.inbound_invites import InboundInvites


@endpoint("PUT", "/_matrix/federation/v1/invite/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def send_invite_v1(
    request: Request, room_id: str, event_id: str, body: dict[str, Any], invites: InboundInvites
) -> list[Any]:
    """Sign an invite of a user of ours to a room of version 1 or 2; the answer is `[200, {...}]`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
    """
    unsigned = body.get("unsigned")
    told = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
    signed = await invites.take(
        request.origin,
        room_id_of(room_id),
        event_id_of(event_id),
        body,
        told if isinstance(told, list) else [],
        version=None,
    )
    return [200, {"event": msgspec.Raw(signed.canonical)}]
