"""Joining rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.core.errors import invalid_param
from homeserver.core.identifiers import is_valid_room_id
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership
from homeserver.services.third_party_invites import ThirdPartyInvites


class JoinBody(Struct):
    """Why, and the proof that an invite by third-party identifier is the user's."""

    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


class JoinQuery(Struct):
    """Servers to join through. `server_name` is what `via` was called before v1.12."""

    via: list[str] = []
    server_name: list[str] = []


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/join",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/join",),
    limit="rc_joins.local",
)
async def join_room_by_id(
    request: Request, room_id: str, body: JoinBody, membership: Membership, invites: ThirdPartyInvites
) -> dict[str, Any]:
    """Join a room by its ID.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin
    """
    if not is_valid_room_id(room_id):
        raise invalid_param(f"{room_id[:300]!r} is not a room ID")
    user_id = request.requester.user_id
    if body.third_party_signed is not None:
        await invites.redeem(user_id, room_id, body.third_party_signed)
    return {"room_id": await membership.join(user_id, room_id, reason=body.reason)}


@endpoint(
    "POST",
    "/_matrix/client/v3/join/{room_id_or_alias}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/join/{room_id_or_alias}",),
    limit="rc_joins.local",
)
async def join_room(
    request: Request,
    room_id_or_alias: str,
    query: JoinQuery,
    body: JoinBody,
    membership: Membership,
    invites: ThirdPartyInvites,
) -> dict[str, Any]:
    """Join a room by its ID or an alias.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
    """
    user_id = request.requester.user_id
    room_id, servers = await membership.room(room_id_or_alias, query.via or query.server_name)
    if body.third_party_signed is not None:
        await invites.redeem(user_id, room_id, body.third_party_signed)
    return {"room_id": await membership.join(user_id, room_id, servers, body.reason)}
