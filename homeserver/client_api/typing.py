"""Typing notifications.

Spec: https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.typing import DEFAULT_TIMEOUT_MS, Typing


class TypingBody(Struct):
    """Whether the user is typing, and for how many milliseconds."""

    typing: bool
    timeout: Annotated[int, Meta(ge=0)] | None = None


@endpoint(
    "PUT",
    "/_matrix/client/v3/rooms/{room_id}/typing/{user_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/typing/{user_id}",),
)
async def set_typing(
    request: Request, room_id: str, user_id: str, body: TypingBody, typing: Typing
) -> dict[str, Any]:
    """Tell that one begins or ends to type.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
    """
    timeout_ms = DEFAULT_TIMEOUT_MS if body.timeout is None else body.timeout
    await typing.set(request.requester, user_id, room_id, timeout_ms if body.typing else 0)
    return {}
