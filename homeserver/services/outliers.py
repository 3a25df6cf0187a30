"""Storing events whose place in the graph is not known. Runs inside a unit of work: it awaits nothing but `tx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from homeserver.core.events import Event
from homeserver.services.redactions import apply_redactions
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent
from homeserver.storage.rooms import Room


async def import_outliers(
    tx: Transaction, states: RoomStates, room: Room, events: Sequence[Event], rejected: Mapping[str, str]
) -> None:
    """Store events whose place in the graph is not known: state and auth chains that another server gave us.

    rejected: the reasons for those that the auth rules refuse, by event ID.
    """
    new = [
        NewEvent(
            event,
            status=EventStatus.REJECTED if event.event_id in rejected else EventStatus.ACCEPTED,
            reason=rejected.get(event.event_id),
        )
        for event in events
    ]
    await stored_events.insert_many(tx, room.room_nid, new)
    await apply_redactions(tx, states, new, may_be_waited_for={event.event_id for event in events})
