"""What a room is, before one joins it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-summaries
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from homeserver.http import OPTIONAL_ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_summary import RoomSummary


class SummaryQuery(Struct):
    """Servers to ask."""

    via: list[str] = field(default_factory=list)


@endpoint(
    "GET",
    "/_matrix/client/v1/room_summary/{room_id_or_alias}",
    auth=OPTIONAL_ACCESS_TOKEN,
    # The paths of the proposal (MSC3266), which clients on matrix-js-sdk ask for.
    aliases=(
        "/_matrix/client/unstable/im.nheko.summary/summary/{room_id_or_alias}",
        "/_matrix/client/unstable/im.nheko.summary/rooms/{room_id_or_alias}/summary",
    ),
)
async def get_room_summary(
    request: Request, room_id_or_alias: str, query: SummaryQuery, summaries: RoomSummary
) -> dict[str, Any]:
    """A summary of a room.

    Without an account only of rooms of this server that anybody may join, knock on or read.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
    """
    requester = request.requester_or_none
    return await summaries.get(requester.user_id if requester else None, room_id_or_alias, query.via)
