"""Knocking on rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


class KnockBody(Struct):
    """Why."""

    reason: str | None = None


class KnockQuery(Struct):
    """Servers to knock through. `server_name` is what `via` was called before v1.12."""

    via: list[str] = []
    server_name: list[str] = []


@endpoint(
    "POST",
    "/_matrix/client/v3/knock/{room_id_or_alias}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/knock/{room_id_or_alias}",),
    limit="rc_joins.local",
)
async def knock_room(
    request: Request, room_id_or_alias: str, query: KnockQuery, body: KnockBody, membership: Membership
) -> dict[str, Any]:
    """Ask to be let into a room, by its ID or an alias.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
    """
    via = query.via or query.server_name
    room_id = await membership.knock(request.requester.user_id, room_id_or_alias, via, body.reason)
    return {"room_id": room_id}
