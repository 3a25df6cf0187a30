"""Uploading and downloading filters.

Spec: https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, RawJSON, Request, endpoint
from homeserver.services.filters import Filters


@endpoint(
    "POST",
    "/_matrix/client/v3/user/{user_id}/filter",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/filter",),
)
async def define_filter(
    request: Request, user_id: str, body: dict[str, Any], filters: Filters
) -> dict[str, Any]:
    """Store a filter.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
    """
    return {"filter_id": await filters.define(request.requester, user_id, body)}


@endpoint(
    "GET",
    "/_matrix/client/v3/user/{user_id}/filter/{filter_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/filter/{filter_id}",),
)
async def get_filter(request: Request, user_id: str, filter_id: str, filters: Filters) -> RawJSON:
    """A stored filter, as it was uploaded.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
    """
    return RawJSON(await filters.get(request.requester, user_id, filter_id))
