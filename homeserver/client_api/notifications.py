"""What a user has been notified of.

Spec: https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.push.listing import DEFAULT_LIMIT, NotificationList


class PageQuery(Struct, rename={"from_": "from"}):
    """from_: the `next_token` of the page before. only: `highlight`, for those alone that are highlighted."""

    from_: str | None = None
    limit: int = DEFAULT_LIMIT
    only: str | None = None


@endpoint(
    "GET",
    "/_matrix/client/v3/notifications",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/notifications",),
)
async def get_notifications(
    request: Request, query: PageQuery, notifications: NotificationList
) -> dict[str, Any]:
    """A page of the user's notifications, the newest first.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
    """
    return await notifications.page(request.requester, query.from_, query.limit, query.only)
