"""What this server can do and permits.

Spec: https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation
"""

from __future__ import annotations

from typing import Any

from homeserver.config import RoomSettings
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.http import ACCESS_TOKEN, endpoint


@endpoint(
    "GET",
    "/_matrix/client/v3/capabilities",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/capabilities",),
)
async def get_capabilities(settings: RoomSettings) -> dict[str, Any]:
    """The capabilities. What is not served yet is said to be disabled.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
    """
    return {
        "capabilities": {
            "m.room_versions": {
                "default": settings.default_room_version,
                "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
            },
            "m.profile_fields": {"enabled": True},
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.change_password": {"enabled": False},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": False},
            "m.forget_forced_upon_leave": {"enabled": False},
        }
    }
