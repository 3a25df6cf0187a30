"""Reading a room's state and single events of it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from homeserver.core.errors import not_found
from homeserver.core.identifiers import is_valid_event_id
from homeserver.core.requester import Requester
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import SeenEvent, access, visible
from homeserver.services.ignored_users import ignored_users
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction


class RoomReads:
    """What users read of rooms, each as far as the user may."""

    def __init__(self, database: Database, states: RoomStates, events: ClientEvents) -> None:
        """`events` brings what is read in the form for clients."""
        self._database = database
        self._states = states
        self._events = events

    async def event(self, requester: Requester, room_id: str, event_id: str) -> msgspec.Raw:
        """One event. Raises M_NOT_FOUND, also for an event that the user may not see."""

        async def work(tx: Transaction) -> msgspec.Raw:
            ignored = await ignored_users(tx, requester.user_id)
            seen = await visible_event(tx, self._states, requester.user_id, room_id, event_id, ignored)
            return (await self._events.render_bundled(tx, requester, [seen]))[0]

        return await self._database.read(work)

    async def event_of_any_room(self, requester: Requester, event_id: str) -> msgspec.Raw:
        """One event of whichever room. Raises M_NOT_FOUND, also for an event that the user may not see.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid
        """
        stored = await self._database.read(lambda tx: stored_events.get(tx, event_id))
        return await self.event(requester, stored.event.room_id if stored else "", event_id)

    async def state(self, requester: Requester, room_id: str) -> list[msgspec.Raw]:
        """All state events of the room; for one who has left, as they were then. Raises M_FORBIDDEN."""

        async def work(tx: Transaction) -> list[msgspec.Raw]:
            may = await access(tx, self._states, room_id, requester.user_id)
            found = await self._states.all_events(tx, may.state)
            return await self._events.state(tx, found.values())

        return await self._database.read(work)

    async def state_content(self, requester: Requester, room_id: str, kind: str, state_key: str) -> Any:
        """The content of one state event. Raises M_FORBIDDEN, M_NOT_FOUND."""
        return (await self._state_event(requester, room_id, kind, state_key)).stored.event.content

    async def state_event(self, requester: Requester, room_id: str, kind: str, state_key: str) -> msgspec.Raw:
        """One state event whole. Raises M_FORBIDDEN, M_NOT_FOUND."""
        seen = await self._state_event(requester, room_id, kind, state_key)
        return (await self._database.read(lambda tx: self._events.render(tx, requester, [seen])))[0]

    async def _state_event(self, requester: Requester, room_id: str, kind: str, state_key: str) -> SeenEvent:
        async def work(tx: Transaction) -> SeenEvent:
            may = await access(tx, self._states, room_id, requester.user_id)
            ids = await self._states.ids(tx, may.state, [(kind, state_key)])
            stored = await stored_events.get(tx, ids[kind, state_key]) if ids else None
            if stored is None:
                raise not_found("The room has no state with this type and state key")
            return SeenEvent(stored, None)

        return await self._database.read(work)


async def visible_event(
    tx: Transaction,
    states: RoomStates,
    user_id: str,
    room_id: str,
    event_id: str,
    ignored: Collection[str] = (),
) -> SeenEvent:
    """An event that the user may see, of the room, and of none of the ignored users. Raises M_NOT_FOUND."""
    room = await rooms.get(tx, room_id)
    if room is not None and is_valid_event_id(event_id):
        stored = await stored_events.get(tx, event_id)
        now = await memberships.get(tx, room.room_nid, user_id)
        if stored is not None and stored.room_nid == room.room_nid and not (now and now.forgotten):
            seen = await visible(tx, states, user_id, [stored], ignored)
            if seen:
                return seen[0]
    raise not_found("There is no such event in this room, or you may not see it")
