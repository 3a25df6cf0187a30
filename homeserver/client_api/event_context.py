"""What happened around an event.

Spec: https://spec.matrix.org/v1.19/client-server-api/#event-context
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.filters import parse_room_event_filter
from homeserver.services.pagination import Pagination


class ContextQuery(Struct):
    """How many events before and after together, and which."""

    limit: Annotated[int, Meta(ge=0)] | None = None
    filter: str | None = None


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/context/{event_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/context/{event_id}",),
)
async def get_event_context(
    request: Request, room_id: str, event_id: str, query: ContextQuery, pagination: Pagination
) -> dict[str, Any]:
    """An event with some before and after it, and the state at the last of them.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
    """
    wanted = parse_room_event_filter(query.filter)
    return await pagination.context(request.requester, room_id, event_id, query.limit, wanted)
