"""Answers to servers that ask for a room's state at an event, or for what authorises an event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core import errors
from homeserver.core.events import Event
from homeserver.core.state_map import Digest
from homeserver.services.auth_chains import auth_chain
from homeserver.services.peer_access import shared_graph
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent


@dataclass(frozen=True, slots=True)
class StateBefore:
    """The state of a room before an event, with the auth chain of that state."""

    state: list[Event]
    auth_chain: list[Event]


class StateAnswers:
    """Gives a room's state to servers that are in the room."""

    def __init__(self, database: Database, states: RoomStates) -> None:
        """All that is needed is stored."""
        self._database = database
        self._states = states

    async def state(self, origin: str, room_id: str, event_id: str) -> StateBefore:
        """ "The fully resolved state for the room, prior to considering any state changes induced by the requested event."

        Raises M_NOT_FOUND when the event or the state before it is not known, M_FORBIDDEN when `origin` is not in the room.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
        """

        async def work(tx: Transaction) -> StateBefore:
            before = await self._state_before(tx, origin, room_id, event_id)
            state = (await self._states.all_events(tx, before)).values()
            return StateBefore(list(state), list((await auth_chain(tx, state)).values()))

        return await self._database.read(work)

    async def event_auth(self, origin: str, room_id: str, event_id: str) -> list[Event]:
        """The complete auth chain of an event. Raises M_NOT_FOUND, M_FORBIDDEN.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
        """

        async def work(tx: Transaction) -> list[Event]:
            stored = await self._event(tx, origin, room_id, event_id)
            return list((await auth_chain(tx, [stored.event])).values())

        return await self._database.read(work)

    async def _event(self, tx: Transaction, origin: str, room_id: str, event_id: str) -> StoredEvent:
        graph = await shared_graph(tx, self._states, room_id, origin)
        stored = await stored_events.get(tx, event_id)
        if stored is None or not graph.has(stored):
            raise errors.not_found(f"Could not find event {event_id}")
        return stored

    async def _state_before(self, tx: Transaction, origin: str, room_id: str, event_id: str) -> Digest:
        stored = await self._event(tx, origin, room_id, event_id)
        if stored.state_before is None:
            raise errors.not_found(f"The state before event {event_id} is not known")
        return stored.state_before
