"""Storing a room's history that was fetched later: events before those that we have.

They get their place and their state, and close the gap in the graph; its ends and the current state are not touched, and nobody is
told of them as news. Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from homeserver.core.auth_rules import Refusal, auth_keys, authorise, check_auth_events
from homeserver.core.events import Event, StateKey
from homeserver.core.state_map import Digest
from homeserver.services import event_store
from homeserver.services.event_places import refusal_by_place
from homeserver.services.redactions import apply_redactions
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import positions, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from homeserver.storage.rooms import Room

CREATE: StateKey = ("m.room.create", "")


class HistoryWriter:
    """One unit of work that adds history to a room."""

    def __init__(self, tx: Transaction, states: RoomStates, room: Room) -> None:
        """`room` as read in this unit of work."""
        self._tx = tx
        self._states = states
        self._room = room
        self._added: dict[str, NewEvent] = {}

    async def add(self, event: Event, state_before: Digest | None) -> str | None:
        """Judge an event and take it in; the events before it first. Returns why it cannot be taken in, or None.

        `state_before` when it is known from elsewhere; else it follows from the prev events. An event that the auth rules refuse
        is taken in as rejected, so that it is not fetched again; what cannot have a place in this room is not taken in.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
        """
        read = await stored_events.get_many(self._tx, [event.event_id, *event.prev_event_ids])
        room = self._room
        misplaced = await refusal_by_place(
            self._tx, self._states, room.room_nid, room.current_state, event, read
        )
        if misplaced:
            return misplaced.reason
        known = read.get(event.event_id)
        if known is not None and not known.is_outlier:
            return "it came meanwhile"
        event = event_store.as_kept(event, known)
        before = state_before if state_before is not None else await self._state_before(event, read)
        if before is None:
            return "the state before it is not known"
        wanted = event.auth_event_ids_with_create
        found = await self._events(wanted)
        missing = set(wanted) - found.keys()
        if missing:
            return f"its auth events {sorted(missing)} are not known"
        refusal = await self._refusal(event, before, found)
        after = before
        if refusal is None and event.is_state:
            after = await self._states.changed(self._tx, before, {event.key: event.event_id})
        self._added[event.event_id] = NewEvent(
            event,
            None,
            event_store.accepted_as(event) if refusal is None else EventStatus.REJECTED,
            None if refusal is None else f"{refusal.rule}: {refusal.reason}",
            state_before=before,
            state_after=after,
        )
        return None

    async def close(self) -> int:
        """Write it all; returns how many events there are now that were not there before. Raises RoomMoved."""
        if not self._added:
            return 0
        tx, room = self._tx, self._room
        await rooms.advance(tx, room, room.current_state)
        newest = await positions.take_history(tx, len(self._added))
        placed = [
            replace(new, position=newest - age)
            for age, new in enumerate(reversed(list(self._added.values())))
        ]
        await event_store.place(tx, room.room_nid, placed)
        await rooms.change_backward_extremities(
            tx, room.room_nid, add=await self._new_gaps(), remove=list(self._added)
        )
        await apply_redactions(tx, self._states, placed, may_be_waited_for=self._added)
        return len(self._added)

    async def _state_before(self, event: Event, read: Mapping[str, StoredEvent]) -> Digest | None:
        roots: list[Digest] = []
        for event_id in event.prev_event_ids:
            known = self._added.get(event_id) or read.get(event_id)
            if known is None or known.state_after is None:
                return None
            roots.append(known.state_after)
        return await self._states.resolved(self._tx, self._room.rules, roots, self._added)

    async def _events(self, event_ids: Sequence[str]) -> dict[str, tuple[Event, EventStatus]]:
        found = {
            event_id: (stored.event, stored.status)
            for event_id, stored in (await stored_events.get_many(self._tx, event_ids)).items()
        }
        added = {event_id: new for event_id in event_ids if (new := self._added.get(event_id))}
        return found | {event_id: (new.event, new.status) for event_id, new in added.items()}

    async def _refusal(
        self, event: Event, before: Digest, found: Mapping[str, tuple[Event, EventStatus]]
    ) -> Refusal | None:
        rejected = {event_id for event_id, (_, status) in found.items() if status is EventStatus.REJECTED}
        auth_events = {event_id: auth_event for event_id, (auth_event, _) in found.items()}
        refusal = check_auth_events(event, auth_events, rejected) or authorise(
            event, {auth.key: auth for auth in auth_events.values() if auth.is_state}
        )
        if refusal:
            return refusal
        keys = auth_keys(event.rules, event.type, event.sender, event.state_key, event.content) | {CREATE}
        ids = await self._states.ids(self._tx, before, keys)
        state = await self._events(list(ids.values()))
        return authorise(
            event, {key: state[event_id][0] for key, event_id in ids.items() if event_id in state}
        )

    async def _new_gaps(self) -> dict[str, int]:
        """What the new events refer to and is not here, each with the depth of the event that refers to it."""
        wanted = {
            prev: new.event.depth
            for new in self._added.values()
            for prev in new.event.prev_event_ids
            if prev not in self._added
        }
        known = await stored_events.known(self._tx, wanted)
        return {prev: depth for prev, depth in wanted.items() if prev not in known or known[prev].is_outlier}
