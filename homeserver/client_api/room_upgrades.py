"""Upgrading rooms to another version.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_upgrades import RoomUpgrades


class UpgradeBody(Struct):
    """The version that is wanted, and who besides the requester is to be a creator of the new room."""

    new_version: str
    additional_creators: list[str] = []


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/upgrade",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/upgrade",),
    limit="rc_room_creation",
)
async def upgrade_room(
    request: Request, room_id: str, body: UpgradeBody, upgrades: RoomUpgrades
) -> dict[str, Any]:
    """Replace a room with one of another version.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
    """
    new_room = await upgrades.upgrade(
        request.requester.user_id, room_id, body.new_version, body.additional_creators
    )
    return {"replacement_room": new_room}
