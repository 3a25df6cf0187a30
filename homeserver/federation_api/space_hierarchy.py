"""Our spaces, for other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#spaces
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.federation_api.answers import room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.space_answers import SpaceAnswers


class HierarchyQuery(msgspec.Struct, frozen=True):
    """Which children."""

    suggested_only: bool = False


@endpoint("GET", "/_matrix/federation/v1/hierarchy/{room_id}", auth=SIGNED_REQUEST)
async def get_space_hierarchy(
    request: Request, room_id: str, query: HierarchyQuery, spaces: SpaceAnswers
) -> dict[str, Any]:
    """A space and its direct children.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
    """
    return await spaces.hierarchy(request.origin, room_id_of(room_id), suggested_only=query.suggested_only)
