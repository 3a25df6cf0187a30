"""Joining rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.core.errors import MatrixError, invalid_param
from homeserver.core.identifiers import is_valid_room_id
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership


class JoinBody(Struct):
    """Why, and the proof for an invite by a third-party identifier, of which this server has none."""

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
    request: Request, room_id: str, body: JoinBody, membership: Membership
) -> dict[str, Any]:
    """Join a room by its ID.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin
    """
    if not is_valid_room_id(room_id):
        raise invalid_param(f"{room_id[:300]!r} is not a room ID")
    _refuse_third_party(body)
    return {"room_id": await membership.join(request.requester.user_id, room_id, reason=body.reason)}


@endpoint(
    "POST",
    "/_matrix/client/v3/join/{room_id_or_alias}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/join/{room_id_or_alias}",),
    limit="rc_joins.local",
)
async def join_room(
    request: Request, room_id_or_alias: str, query: JoinQuery, body: JoinBody, membership: Membership
) -> dict[str, Any]:
    """Join a room by its ID or an alias.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
    """
    _refuse_third_party(body)
    via = query.via or query.server_name
    return {"room_id": await membership.join(request.requester.user_id, room_id_or_alias, via, body.reason)}


def _refuse_third_party(body: JoinBody) -> None:
    # "the homeserver must verify that it matches a pending m.room.third_party_invite event": it makes none.
    if body.third_party_signed is not None:
        raise MatrixError(
            "M_THREEPID_NOT_FOUND", "This homeserver does not support invites by third-party identifier", 403
        )
