"""The children of an event, page by page.

Spec: https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import BEGINNING, Place, newest_place, place_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import SeenEvent, visible
from homeserver.services.history_walk import is_before, place_beside
from homeserver.services.ignored_users import ignored_users
from homeserver.services.reached import first_place, place_of
from homeserver.services.room_reads import visible_event
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import positions, relations
from homeserver.storage.database import Database, Transaction
from homeserver.storage.relations import Children

DEFAULT_LIMIT = 20
MAX_LIMIT = 1_000

RECURSION_DEPTH = 3
""" "Homeservers SHOULD traverse at least 3 levels of relationships." """

MAX_READS = 20
"""How often more events are read when the history visibility let too few through."""


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """What a client asks of /relations. start, end: tokens, `from` and `to`. recurse: None when it did not say."""

    event_id: str
    rel_type: str | None = None
    event_type: str | None = None
    start: str | None = None
    end: str | None = None
    limit: int | None = None
    backwards: bool = True
    recurse: bool | None = None


class Relations:
    """Tells which events relate to one."""

    def __init__(self, database: Database, states: RoomStates, events: ClientEvents) -> None:
        """`events` brings what is read in the form for clients."""
        self._database = database
        self._states = states
        self._events = events

    async def children(self, requester: Requester, room_id: str, request: RelationsRequest) -> dict[str, Any]:
        """A page of the events that relate to one: `chunk`, `next_batch`, `prev_batch`, `recursion_depth`.

        Raises M_NOT_FOUND for an event that there is not or that the user may not see, M_INVALID_PARAM for tokens that are not
        ours.
        """
        return await self._database.read(lambda tx: self._page(tx, requester, room_id, request))

    async def _page(
        self, tx: Transaction, requester: Requester, room_id: str, request: RelationsRequest
    ) -> dict[str, Any]:
        parent = await visible_event(tx, self._states, requester.user_id, room_id, request.event_id)
        room_nid = parent.stored.room_nid
        start = await _start(tx, room_nid, request)
        end = await place_of(tx, room_nid, request.end) if request.end else None
        limit = min(DEFAULT_LIMIT if request.limit is None else request.limit, MAX_LIMIT)
        depth = RECURSION_DEPTH if request.recurse else 1
        wanted = Children(room_nid, request.event_id, request.rel_type, request.event_type, depth)
        reader = _Reader(tx, self._states, requester.user_id, wanted, request, start)
        found, further = await reader.walk(end, limit)
        answer: dict[str, Any] = {"chunk": await self._events.render_bundled(tx, requester, found)}
        if further is not None:
            answer["next_batch"] = place_token(further)
        if request.start:
            answer["prev_batch"] = request.start
        if request.recurse is not None:
            answer["recursion_depth"] = RECURSION_DEPTH if request.recurse else 0
        return answer


@dataclass(frozen=True, slots=True)
class _Reader:
    """Walks through the children of an event for one user, from `start` on."""

    tx: Transaction
    states: RoomStates
    user_id: str
    wanted: Children
    request: RelationsRequest
    start: Place

    async def walk(self, end: Place | None, limit: int) -> tuple[list[SeenEvent], Place | None]:
        """Up to `limit` children before `end` that the user may see, and where to go on; None when there are no more."""
        found: list[SeenEvent] = []
        ignored = await ignored_users(self.tx, self.user_id)
        at = self.start
        backwards = self.request.backwards
        beyond = partial(place_beside, backwards=backwards, until=self.start.until)
        for _ in range(MAX_READS):
            asked = limit - len(found) + 1
            nids = await relations.children(self.tx, self.wanted, start=at, backwards=backwards, limit=asked)
            stored = await stored_events.by_nids(self.tx, nids)
            rows = [stored[nid] for nid in nids]
            within = [row for row in rows if end is None or is_before(row, end, backwards)]
            found += await visible(self.tx, self.states, self.user_id, within, ignored)
            if len(found) > limit:
                return found[:limit], beyond(found[limit - 1].stored)
            if len(rows) < asked or len(within) < len(rows):
                return found, None
            at = beyond(rows[-1])
        return found, at


async def _start(tx: Transaction, room_nid: int, request: RelationsRequest) -> Place:
    """Where a page begins: where the client says, or at the end or beginning of the room."""
    if request.start:
        return await first_place(tx, room_nid, request.start, backwards=request.backwards)
    return newest_place(await positions.current(tx)) if request.backwards else BEGINNING
