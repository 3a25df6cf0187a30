"""What came before /sync: the state of everything, and the stream of events. Deprecated; but /events of one room lets one look in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from homeserver.core.errors import guest_access_forbidden
from homeserver.core.stream_tokens import parse_sync_token
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.event_stream import EventStream
from homeserver.services.initial_sync import InitialSync
from homeserver.services.room_reads import RoomReads


class EventsQuery(Struct):
    """From where on, how long to wait in milliseconds, and of which room alone.

    "This will block until an event is received", also for who does not say how long: half a minute then, as Synapse has it.
    """

    start: str | None = field(default=None, name="from")
    timeout: int = 30_000
    room_id: str | None = None


class InitialSyncQuery(Struct):
    """How many messages of each room, and whether rooms that the user has left are wanted too."""

    limit: Annotated[int, Meta(ge=0)] | None = None
    archived: bool = False


@endpoint("GET", "/_matrix/client/v3/events", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/events",))
async def get_events(request: Request, query: EventsQuery, stream: EventStream) -> dict[str, Any]:
    """New events of the user's rooms, or of a room that the user may read.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
    Spec: https://spec.matrix.org/v1.19/client-server-api/#peeking_get_matrixclientv3events
    """
    if request.requester.is_guest and query.room_id is None:
        raise guest_access_forbidden("Guests can only listen to one room, which they name as room_id")
    return await stream.events(
        request.requester,
        since=parse_sync_token(query.start) if query.start else None,
        timeout_ms=query.timeout,
        room_id=query.room_id,
    )


@endpoint(
    "GET",
    "/_matrix/client/v3/events/{event_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/events/{event_id}",),
)
async def get_one_event(request: Request, event_id: str, reads: RoomReads) -> Any:
    """One event, of whichever room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
    """
    return await reads.event_of_any_room(request.requester, event_id)


@endpoint(
    "GET", "/_matrix/client/v3/initialSync", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/initialSync",)
)
async def initial_sync(request: Request, query: InitialSyncQuery, service: InitialSync) -> dict[str, Any]:
    """All rooms of the user, with their state and latest messages.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
    """
    return await service.everything(request.requester, limit=query.limit, archived=query.archived)
