"""A room's history, page by page.

Spec: https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.filters import parse_room_event_filter
from homeserver.services.pagination import PageRequest, Pagination


class MessagesQuery(Struct):
    """From where, in which direction, up to where, how many, and which events."""

    dir: Literal["b", "f"]
    start: str | None = field(default=None, name="from")
    to: str | None = None
    limit: Annotated[int, Meta(ge=0)] | None = None
    filter: str | None = None


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/messages",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/messages",),
)
async def get_room_events(
    request: Request, room_id: str, query: MessagesQuery, pagination: Pagination
) -> dict[str, Any]:
    """A page of events.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
    """
    wanted = PageRequest(
        backwards=query.dir == "b",
        start=query.start,
        end=query.to,
        limit=query.limit,
        filter=parse_room_event_filter(query.filter),
    )
    return await pagination.messages(request.requester, room_id, wanted)
