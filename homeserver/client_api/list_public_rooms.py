"""The published room directory.

Spec: https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homeserver.config import RoomSettings
from homeserver.core.errors import missing_token
from homeserver.http import ACCESS_TOKEN, NO_AUTH, Request, endpoint
from homeserver.http.authentication import access_token_of
from homeserver.services.public_rooms import PublicRooms, RoomsQuery, SearchBody
from homeserver.services.sessions import Sessions

VISIBILITY = "/_matrix/client/v3/directory/list/room/{room_id}"
OLD_VISIBILITY = ("/_matrix/client/r0/directory/list/room/{room_id}",)
Limit = Annotated[int, Meta(ge=0)]


class PublicRoomsQuery(Struct):
    """How many rooms, from which token on, and of which server."""

    limit: Limit | None = None
    since: str | None = None
    server: str | None = None


class ServerQuery(Struct):
    """Of which server."""

    server: str | None = None


class VisibilityBody(Struct):
    """Whether the room is in the directory."""

    visibility: Literal["private", "public"] = "public"


@endpoint("GET", VISIBILITY, auth=NO_AUTH, aliases=OLD_VISIBILITY)
async def get_room_visibility_on_directory(room_id: str, public_rooms: PublicRooms) -> dict[str, Any]:
    """Whether a room is in this server's directory.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
    """
    return {"visibility": "public" if await public_rooms.is_published(room_id) else "private"}


@endpoint("PUT", VISIBILITY, auth=ACCESS_TOKEN, aliases=OLD_VISIBILITY)
async def set_room_visibility_on_directory(
    request: Request, room_id: str, body: VisibilityBody, public_rooms: PublicRooms
) -> dict[str, Any]:
    """Put a room into this server's directory, or take it out.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
    """
    await public_rooms.publish(request.requester, room_id, body.visibility == "public")
    return {}


@endpoint("GET", "/_matrix/client/v3/publicRooms", auth=NO_AUTH, aliases=("/_matrix/client/r0/publicRooms",))
async def get_public_rooms(
    request: Request,
    query: PublicRoomsQuery,
    public_rooms: PublicRooms,
    settings: RoomSettings,
    sessions: Sessions,
) -> dict[str, Any]:
    """A page of a server's directory.

    Whether it takes an account to read it is the operator's choice (`allow_public_rooms_without_auth`); other servers are asked
    for people with an account alone.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
    """
    if not settings.allow_public_rooms_without_auth or query.server is not None:
        token = access_token_of(request)
        if token is None:
            raise missing_token("The room directory of this homeserver can only be read with an account")
        await sessions.authenticate(token)
    return await public_rooms.page(query.server, RoomsQuery(query.limit, query.since))


@endpoint(
    "POST", "/_matrix/client/v3/publicRooms", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/publicRooms",)
)
async def query_public_rooms(
    query: ServerQuery, body: SearchBody, public_rooms: PublicRooms
) -> dict[str, Any]:
    """Search a server's directory.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
    """
    return await public_rooms.page(query.server, body.query())
