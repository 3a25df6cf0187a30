"""Whether an event can have a place in a room's graph at all, wherever it comes from.

Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.core.auth_rules import Refusal
from homeserver.core.events import Event
from homeserver.core.power_levels import CREATE
from homeserver.core.state_map import Digest
from homeserver.services.room_state import RoomStates
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent


async def refusal_by_place(
    tx: Transaction,
    states: RoomStates,
    room_nid: int,
    current_state: Digest,
    event: Event,
    read: Mapping[str, StoredEvent | None],
) -> Refusal | None:
    """Why an event cannot have a place in the room; such an event is not kept, because rooms may not cross.

    read: what there is of the event itself and of those before it, by event ID.
    """
    known = read.get(event.event_id)
    if known and known.room_nid != room_nid:
        return Refusal("event_id", "another room has an event with this ID")
    for event_id in event.prev_event_ids:
        prev = read.get(event_id)
        if prev and prev.room_nid != room_nid:
            return Refusal("prev_events", f"the event {event_id} before it is of another room")
    if event.type == CREATE[0]:
        create = (await states.ids(tx, current_state, [CREATE])).get(CREATE)
        if create not in (None, event.event_id):
            return Refusal("m.room.create", f"the room was created by {create}")
    return None
