"""Full-text search.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.filters import room_event_filter
from homeserver.services.search import Search, SearchRequest
from homeserver.services.search_context import ContextRequest

Limit = Annotated[int, Meta(ge=0)]


class SearchQuery(Struct):
    """Where to go on."""

    next_batch: str | None = None


class EventContext(Struct):
    """What is wanted around each result."""

    before_limit: Limit = 5
    after_limit: Limit = 5
    include_profile: bool = False


class Group(Struct):
    """A key by which results are put together."""

    key: Literal["room_id", "sender"]


class Groupings(Struct):
    """By which keys results are put together."""

    group_by: list[Group] = []


class RoomEventsCriteria(Struct):
    """What is searched for among the events of rooms, and how it is shown."""

    search_term: str
    keys: list[Literal["content.body", "content.name", "content.topic"]] | None = None
    filter: dict[str, Any] = {}
    order_by: Literal["rank", "recent"] = "rank"
    event_context: EventContext | None = None
    include_state: bool = False
    groupings: Groupings | None = None


class SearchCategories(Struct):
    """The categories that are searched in."""

    room_events: RoomEventsCriteria | None = None


class SearchBody(Struct):
    """The body of /search."""

    search_categories: SearchCategories


@endpoint(
    "POST",
    "/_matrix/client/v3/search",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/search",),
    cancellable=True,
)
async def search(
    request: Request, body: SearchBody, query: SearchQuery, service: Search
) -> dict[str, dict[str, Any]]:
    """Search in the rooms that the user is or was in.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
    """
    wanted = body.search_categories.room_events
    if wanted is None:
        return {"search_categories": {}}
    around = wanted.event_context
    context = around and ContextRequest(around.before_limit, around.after_limit, around.include_profile)
    groups = wanted.groupings.group_by if wanted.groupings else []
    found = await service.room_events(
        request.requester,
        SearchRequest(
            term=wanted.search_term,
            keys=None if wanted.keys is None else tuple(wanted.keys),
            filter=room_event_filter(wanted.filter),
            by_rank=wanted.order_by == "rank",
            context=context or None,
            include_state=wanted.include_state,
            group_by=tuple(dict.fromkeys(group.key for group in groups)),
            next_batch=query.next_batch,
        ),
    )
    return {"search_categories": {"room_events": found}}
