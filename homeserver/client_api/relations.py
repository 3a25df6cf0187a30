"""The events that relate to an event.

Spec: https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.relations import Relations, RelationsRequest


class RelationsQuery(Struct):
    """From where, up to where, how many, in which direction, and whether with what relates to what relates to the event."""

    start: str | None = field(default=None, name="from")
    to: str | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    dir: Literal["b", "f"] = "b"
    recurse: bool | None = None

    def request(
        self, event_id: str, rel_type: str | None = None, event_type: str | None = None
    ) -> RelationsRequest:
        """What is asked for, with what stands in the path."""
        return RelationsRequest(
            event_id=event_id,
            rel_type=rel_type,
            event_type=event_type,
            start=self.start,
            end=self.to,
            limit=self.limit,
            backwards=self.dir == "b",
            recurse=self.recurse,
        )


@endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/relations/{event_id}", auth=ACCESS_TOKEN)
async def get_relating_events(
    request: Request, room_id: str, event_id: str, query: RelationsQuery, relations: Relations
) -> dict[str, Any]:
    """All child events.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid
    """
    return await relations.children(request.requester, room_id, query.request(event_id))


@endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/relations/{event_id}/{rel_type}", auth=ACCESS_TOKEN)
async def get_relating_events_with_rel_type(
    request: Request, room_id: str, event_id: str, rel_type: str, query: RelationsQuery, relations: Relations
) -> dict[str, Any]:
    """The child events with a type of relation.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype
    """
    return await relations.children(request.requester, room_id, query.request(event_id, rel_type))


@endpoint(
    "GET",
    "/_matrix/client/v1/rooms/{room_id}/relations/{event_id}/{rel_type}/{event_type}",
    auth=ACCESS_TOKEN,
)
async def get_relating_events_with_rel_type_and_event_type(
    request: Request,
    room_id: str,
    event_id: str,
    rel_type: str,
    event_type: str,
    query: RelationsQuery,
    relations: Relations,
) -> dict[str, Any]:
    """The child events with a type of relation and a type of event.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
    """
    wanted = query.request(event_id, rel_type, event_type)
    return await relations.children(request.requester, room_id, wanted)
