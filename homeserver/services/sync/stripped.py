"""Rooms that the user knows from outside: invites and knocks, with stripped state.

Spec: https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from typing import Any

from homeserver.core.events import Event
from homeserver.services.stripped_state import stripped_state
from homeserver.services.sync.request import Reader
from homeserver.storage.memberships import Membership
from homeserver.storage.rooms import Room


async def invited_room(reader: Reader, room: Room, membership: Membership) -> dict[str, Any]:
    """The section of a room to which the user is invited."""
    return {"invite_state": {"events": await _events(reader, room, membership)}}


async def knocked_room(reader: Reader, room: Room, membership: Membership) -> dict[str, Any]:
    """The section of a room on which the user has knocked."""
    return {"knock_state": {"events": await _events(reader, room, membership)}}


async def _events(reader: Reader, room: Room, membership: Membership) -> list[dict[str, Any]]:
    own: tuple[str, str] = ("m.room.member", membership.user_id)
    inviter: tuple[str, str] = ("m.room.member", membership.sender)
    members = await reader.states.events(reader.tx, room.current_state, [inviter, own])
    events: list[Event] = await stripped_state(reader.tx, reader.states, room.current_state)
    events += [members[key] for key in dict.fromkeys((inviter, own)) if key in members]
    return [
        {"type": event.type, "state_key": event.state_key, "sender": event.sender, "content": event.content}
        for event in events
    ]
