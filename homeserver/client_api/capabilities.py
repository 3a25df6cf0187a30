"""What this server can do and permits.

Spec: https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation
"""

from __future__ import annotations

from typing import Any

from homeserver.config import RoomSettings
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.login_tokens import LoginTokens


@endpoint(
    "GET",
    "/_matrix/client/v3/capabilities",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/capabilities",),
)
async def get_capabilities(request: Request, settings: RoomSettings, tokens: LoginTokens) -> dict[str, Any]:
    """The capabilities: what this user can do here.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
    """
    capabilities: dict[str, Any] = {
        "m.room_versions": {
            "default": settings.default_room_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
        },
        "m.profile_fields": {"enabled": True},
        "m.set_displayname": {"enabled": True},
        "m.set_avatar_url": {"enabled": True},
        "m.change_password": {"enabled": True},
        # No identifier can be verified without e-mails or text messages, which this server does not send.
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": tokens.is_enabled},
        "m.forget_forced_upon_leave": {"enabled": False},
    }
    if request.requester.is_admin:
        # "This property should be omitted altogether if suspend and lock would be false."
        capabilities["m.account_moderation"] = {"suspend": True, "lock": True}
    return {"capabilities": capabilities}
