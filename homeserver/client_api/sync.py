"""What is new for a client.

Spec: https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.core.stream_tokens import parse_sync_token
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.filters import Filters
from homeserver.services.sync import Sync, SyncRequest


class SyncQuery(Struct):
    """The parameters of /sync. `timeout` in milliseconds."""

    filter: str | None = None
    since: str | None = None
    full_state: bool = False
    set_presence: Literal["offline", "online", "unavailable"] | None = None
    timeout: int = 0
    use_state_after: bool = False


@endpoint("GET", "/_matrix/client/v3/sync", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/sync",))
async def sync(request: Request, query: SyncQuery, filters: Filters, service: Sync) -> dict[str, Any]:
    """What is new since the last answer; waits for it up to `timeout`.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
    """
    since = parse_sync_token(query.since) if query.since else None
    wanted = SyncRequest(
        requester=request.requester,
        filter=await filters.resolve(request.requester.user_id, query.filter),
        since=since.position if since else None,
        typing=since.typing if since else None,
        full_state=query.full_state,
        timeout_ms=query.timeout,
        use_state_after=query.use_state_after,
        set_presence=query.set_presence,
    )
    return await service.sync(wanted)
