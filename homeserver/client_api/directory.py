"""Room aliases.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, NO_AUTH, Request, endpoint
from homeserver.services.directory import Directory

ALIAS = "/_matrix/client/v3/directory/room/{room_alias}"
OLD_ALIAS = ("/_matrix/client/r0/directory/room/{room_alias}",)


class AliasBody(Struct):
    """The room that the alias is to name."""

    room_id: str


@endpoint("PUT", ALIAS, auth=ACCESS_TOKEN, aliases=OLD_ALIAS)
async def set_room_alias(
    request: Request, room_alias: str, body: AliasBody, directory: Directory
) -> dict[str, Any]:
    """Make an alias.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
    """
    await directory.add(request.requester, room_alias, body.room_id)
    return {}


@endpoint("GET", ALIAS, auth=NO_AUTH, aliases=OLD_ALIAS)
async def get_room_id_by_alias(room_alias: str, directory: Directory) -> dict[str, Any]:
    """The room that an alias names, ours or another server's, and servers to join it by.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
    """
    room_id, servers = await directory.resolve(room_alias)
    return {"room_id": room_id, "servers": servers}


@endpoint("DELETE", ALIAS, auth=ACCESS_TOKEN, aliases=OLD_ALIAS)
async def delete_room_alias(request: Request, room_alias: str, directory: Directory) -> dict[str, Any]:
    """Delete an alias.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
    """
    await directory.remove(request.requester, room_alias)
    return {}


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/aliases",
    auth=ACCESS_TOKEN,
    aliases=(
        "/_matrix/client/r0/rooms/{room_id}/aliases",
        "/_matrix/client/unstable/org.matrix.msc2432/rooms/{room_id}/aliases",
    ),
)
async def get_local_aliases(request: Request, room_id: str, directory: Directory) -> dict[str, Any]:
    """The aliases of this server for a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
    """
    return {"aliases": await directory.of_room(request.requester, room_id)}
