"""The tree of a space.

Spec: https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.space_hierarchy import HierarchyRequest, SpaceHierarchy


class HierarchyQuery(Struct):
    """Which children, how many rooms at once, how deep, and from which token on."""

    suggested_only: bool = False
    limit: Annotated[int, Meta(ge=1)] | None = None
    max_depth: Annotated[int, Meta(ge=0)] | None = None
    start: str | None = field(default=None, name="from")


@endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/hierarchy", auth=ACCESS_TOKEN)
async def get_space_hierarchy(
    request: Request, room_id: str, query: HierarchyQuery, spaces: SpaceHierarchy
) -> dict[str, Any]:
    """A portion of a space's tree, depth first.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
    """
    wanted = HierarchyRequest(query.suggested_only, query.limit, query.max_depth, query.start)
    return await spaces.page(request.requester.user_id, room_id, wanted)
