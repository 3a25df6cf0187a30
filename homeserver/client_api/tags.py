"""Tags that users give to rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.tags import Tags

TAG = "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags/{tag}"
TAG_ALIASES = ("/_matrix/client/r0/user/{user_id}/rooms/{room_id}/tags/{tag}",)


@endpoint(
    "GET",
    "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/rooms/{room_id}/tags",),
)
async def get_room_tags(request: Request, user_id: str, room_id: str, tags: Tags) -> dict[str, Any]:
    """The tags of a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
    """
    return {"tags": await tags.all(request.requester, user_id, room_id)}


@endpoint("PUT", TAG, auth=ACCESS_TOKEN, aliases=TAG_ALIASES)
async def set_room_tag(
    request: Request, user_id: str, room_id: str, tag: str, body: dict[str, Any], tags: Tags
) -> dict[str, Any]:
    """Give a room a tag.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
    """
    await tags.set(request.requester, user_id, room_id, tag, body)
    return {}


@endpoint("DELETE", TAG, auth=ACCESS_TOKEN, aliases=TAG_ALIASES)
async def delete_room_tag(
    request: Request, user_id: str, room_id: str, tag: str, tags: Tags
) -> dict[str, Any]:
    """Take a tag away from a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
    """
    await tags.delete(request.requester, user_id, room_id, tag)
    return {}
