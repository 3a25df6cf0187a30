"""Finding events of a room by their time.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.events_by_time import EventsByTime


class TimestampQuery(Struct):
    """From which time on (milliseconds since the epoch), and whether forwards or backwards."""

    ts: int
    dir: Literal["f", "b"]


@endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/timestamp_to_event", auth=ACCESS_TOKEN)
async def get_event_by_timestamp(
    request: Request, room_id: str, query: TimestampQuery, events: EventsByTime
) -> dict[str, Any]:
    """The event closest to a time.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
    """
    found = await events.nearest(request.requester, room_id, query.ts, backwards=query.dir == "b")
    return {"event_id": found.event_id, "origin_server_ts": found.origin_server_ts}
