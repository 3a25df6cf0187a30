"""Rooms that the user knows from outside: invites and knocks, with stripped state, and how they ended.

Spec: https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from typing import Any

from homeserver.core.events import Event, client_event
from homeserver.services.stripped_state import stripped_state
from homeserver.services.sync.request import Reader
from homeserver.services.told_state import stripped
from homeserver.storage.memberships import Membership
from homeserver.storage.out_of_room import OutOfRoom
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
    return [stripped(event) for event in events]


def outside_room(reader: Reader, record: OutOfRoom) -> tuple[str, dict[str, Any]]:
    """The name of the section for a room that we know from outside alone, and the room in it."""
    if record.membership in ("invite", "knock"):
        own = stripped(record.event)
        key = (own["type"], own["state_key"])
        told = [dict(event) for event in record.stripped_state]
        told = [event for event in told if (event["type"], event["state_key"]) != key]
        return record.membership, {f"{record.membership}_state": {"events": [*told, own]}}
    wanted = reader.request.filter.room.timeline
    event = record.event
    is_wanted = wanted.allows(event.type, event.sender, event.content)
    shown = [client_event(event, with_room_id=False)] if is_wanted and wanted.limit != 0 else []
    return "leave", {
        "timeline": {"events": shown, "limited": False},
        "state": {"events": []},
        "account_data": {"events": []},
    }
