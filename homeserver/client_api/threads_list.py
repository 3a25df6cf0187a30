"""The threads of a room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.threads_list import ThreadsList, ThreadsRequest


class ThreadsQuery(Struct):
    """Which threads, how many, and from which token on."""

    include: Literal["all", "participated"] = "all"
    limit: Annotated[int, Meta(ge=1)] | None = None
    start: str | None = field(default=None, name="from")


@endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/threads", auth=ACCESS_TOKEN)
async def get_thread_roots(
    request: Request, room_id: str, query: ThreadsQuery, threads: ThreadsList
) -> dict[str, Any]:
    """A page of thread roots.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
    """
    wanted = ThreadsRequest(query.include == "participated", query.limit, query.start)
    return await threads.page(request.requester, room_id, wanted)
