"""Presence.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.presence import Presence

STATUS = "/_matrix/client/v3/presence/{user_id}/status"
STATUS_ALIASES = ("/_matrix/client/r0/presence/{user_id}/status",)


class PresenceBody(Struct):
    """The new presence, and a message for others."""

    presence: Literal["online", "offline", "unavailable"]
    status_msg: str | UnsetType = UNSET


@endpoint("PUT", STATUS, auth=ACCESS_TOKEN, aliases=STATUS_ALIASES)
async def set_presence(
    request: Request, user_id: str, body: PresenceBody, presence: Presence
) -> dict[str, Any]:
    """Set one's presence.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
    """
    status_msg = None if body.status_msg is UNSET else body.status_msg
    await presence.set(request.requester, user_id, body.presence, status_msg)
    return {}


@endpoint("GET", STATUS, auth=ACCESS_TOKEN, aliases=STATUS_ALIASES)
async def get_presence(request: Request, user_id: str, presence: Presence) -> dict[str, Any]:
    """The presence of a user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
    """
    return await presence.get(request.requester, user_id)
