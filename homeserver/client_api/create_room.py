"""Creating rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#creation
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.room_creation import InitialState, NewRoom, RoomCreation, refuse_third_party_invites


class StateEvent(Struct):
    """An entry of `initial_state`."""

    type: str
    content: dict[str, Any]
    state_key: str = ""


class CreateRoomBody(Struct):
    """The body of createRoom; its keys are the specification's."""

    visibility: Literal["public", "private"] = "private"
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] = []
    invite_3pid: list[dict[str, Any]] = []
    room_version: str | None = None
    creation_content: dict[str, Any] = {}
    initial_state: list[StateEvent] = []
    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    is_direct: bool = False
    power_level_content_override: dict[str, Any] = {}


@endpoint(
    "POST",
    "/_matrix/client/v3/createRoom",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/createRoom",),
    limit="rc_room_creation",
)
async def create_room(request: Request, body: CreateRoomBody, creation: RoomCreation) -> dict[str, Any]:
    """Create a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
    """
    refuse_third_party_invites(body.invite_3pid)
    wanted = NewRoom(
        visibility=body.visibility,
        room_alias_name=body.room_alias_name,
        name=body.name,
        topic=body.topic,
        invite=tuple(body.invite),
        room_version=body.room_version,
        creation_content=body.creation_content,
        initial_state=tuple(
            InitialState(event.type, event.content, event.state_key) for event in body.initial_state
        ),
        preset=body.preset,
        is_direct=body.is_direct,
        power_level_content_override=body.power_level_content_override,
    )
    return {"room_id": await creation.create(request.requester.user_id, wanted)}
