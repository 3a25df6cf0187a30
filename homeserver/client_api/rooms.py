"""Reading events, state and members of a room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.members import Members
from homeserver.services.room_reads import RoomReads

MembershipKind = Literal["join", "invite", "knock", "leave", "ban"]


class StateQuery(Struct):
    """Whether the whole event is wanted, or its content."""

    format: Literal["content", "event"] = "content"


class MembersQuery(Struct):
    """At which token of ours, and which members."""

    at: str | None = None
    membership: MembershipKind | None = None
    not_membership: MembershipKind | None = None


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/event/{event_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/event/{event_id}",),
)
async def get_one_room_event(request: Request, room_id: str, event_id: str, reads: RoomReads) -> Any:
    """One event.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
    """
    return await reads.event(request.requester, room_id, event_id)


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/state/{event_type}/{state_key}",),
)
@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/state/{event_type}",),
)
async def get_room_state_with_key(
    request: Request,
    room_id: str,
    event_type: str,
    query: StateQuery,
    reads: RoomReads,
    state_key: str = "",
) -> Any:
    """One state event, or its content.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
    """
    if query.format == "event":
        return await reads.state_event(request.requester, room_id, event_type, state_key)
    return await reads.state_content(request.requester, room_id, event_type, state_key)


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/state",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/state",),
)
async def get_room_state(request: Request, room_id: str, reads: RoomReads) -> Any:
    """All state events.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
    """
    return await reads.state(request.requester, room_id)


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/members",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/members",),
)
async def get_members_by_room(
    request: Request, room_id: str, query: MembersQuery, members: Members
) -> dict[str, Any]:
    """The member events of a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
    """
    chunk = await members.events(
        request.requester,
        room_id,
        at=query.at,
        membership=query.membership,
        not_membership=query.not_membership,
    )
    return {"chunk": chunk}


@endpoint(
    "GET",
    "/_matrix/client/v3/rooms/{room_id}/joined_members",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/joined_members",),
)
async def get_joined_members_by_room(request: Request, room_id: str, members: Members) -> dict[str, Any]:
    """The joined users of a room with their names and avatars.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
    """
    return {"joined": await members.joined(request.requester, room_id)}
