"""Reading a room's history page by page, and around an event.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from homeserver.core.filters import RoomEventFilter
from homeserver.core.requester import Requester
from homeserver.core.state_map import Digest
from homeserver.core.stream_tokens import BEGINNING, Place, newest_place, place_token, stream_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import Access, SeenEvent, access
from homeserver.services.history_walk import HistoryWalker, Walk, place_beside
from homeserver.services.ignored_users import ignored_users
from homeserver.services.reached import first_place, place_of
from homeserver.services.room_reads import visible_event
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import positions, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent

DEFAULT_LIMIT = 10
MAX_LIMIT = 1_000
MAX_FETCHES = 10
"""How often history is fetched from other servers for one page: where it branches, what comes can refer to more that is missing."""

MEMBER = "m.room.member"


MAX_CONTEXT_FETCHES = 3
"""How often what is missing before an event is fetched, to show what was around it."""


class RemoteHistory(Protocol):
    """Gets history that we do not have from other servers."""

    async def fill_gap(self, room_id: str, place: Place, limit: int) -> bool:
        """Fetch about `limit` events before the room's gaps (its backward extremities) that are at `place` or later.

        A reader who goes back in history has come as far as `place`. Answers whether anything was added, within the time that a
        person waits; servers that cannot be asked are no error.
        """
        ...


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a client asks of /messages. start, end: tokens, `from` and `to`."""

    backwards: bool
    start: str | None = None
    end: str | None = None
    limit: int | None = None
    filter: RoomEventFilter = field(default_factory=RoomEventFilter)


@dataclass(frozen=True, slots=True)
class _Page:
    """answer: the body of the response. end: the token of how far it came. gap: where history is missing that belongs in it."""

    answer: dict[str, Any]
    end: str
    gap: Place | None


class Pagination:
    """Pages through rooms."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        events: ClientEvents,
        remote: RemoteHistory | None = None,
    ) -> None:
        """What we do not have is fetched by `remote`."""
        self._database = database
        self._states = states
        self._events = events
        self._remote = remote

    async def messages(self, requester: Requester, room_id: str, request: PageRequest) -> dict[str, Any]:
        """A page of the room's history: `start`, `end`, `chunk`, `state`.

        Raises M_FORBIDDEN, M_INVALID_PARAM for tokens that are not ours.
        """
        page = await self._database.read(lambda tx: self._page(tx, requester, room_id, request))
        limit = _limit(request.limit, request.filter)
        # A gap that stays would be behind who goes on from the end of this page.
        for _ in range(MAX_FETCHES):
            if page.gap is None or self._remote is None:
                return page.answer
            if not await self._remote.fill_gap(room_id, page.gap, limit):
                return page.answer
            page = await self._database.read(lambda tx: self._page(tx, requester, room_id, request))
        if page.gap is not None:
            # What was fetched may be nothing that the user sees; the next page fetches what is before it.
            page.answer["end"] = page.end
        return page.answer

    async def context(
        self, requester: Requester, room_id: str, event_id: str, limit: int | None, wanted: RoomEventFilter
    ) -> dict[str, Any]:
        """An event, some before and after it, and the room's state at the last of them. What is missing before it is fetched.

        Raises M_FORBIDDEN, M_NOT_FOUND for an event that there is not or that the user may not see.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
        """
        most = _limit(limit, wanted)

        async def work(tx: Transaction) -> tuple[dict[str, Any], Place | None]:
            may = await access(tx, self._states, room_id, requester.user_id)
            ignored = await ignored_users(tx, requester.user_id)
            seen = await visible_event(tx, self._states, requester.user_id, room_id, event_id, ignored)
            stored = seen.stored
            reader = HistoryWalker(tx, self._states, requester.user_id, may, wanted, ignored)
            start = place_beside(stored, backwards=True)
            before = await reader.walk(start, None, most - most // 2, backwards=True)
            after = await reader.walk(place_beside(stored, backwards=False), None, most // 2, backwards=False)
            shown = [*reversed(before.events), seen, *after.events]
            rendered = await self._events.render_bundled(tx, requester, shown)
            index = len(before.events)
            answer = {
                "start": place_token(before.place),
                "end": place_token(after.place),
                "events_before": rendered[:index][::-1],
                "event": rendered[index],
                "events_after": rendered[index + 1 :],
                "state": await self._state(tx, may, shown, wanted),
            }
            return answer, await _gap(tx, may, start, before) if may.is_joined else None

        for _ in range(MAX_CONTEXT_FETCHES):
            answer, gap = await self._database.read(work)
            if gap is None or self._remote is None or not await self._remote.fill_gap(room_id, gap, most):
                return answer
        return (await self._database.read(work))[0]

    async def _page(self, tx: Transaction, requester: Requester, room_id: str, request: PageRequest) -> _Page:
        may = await access(tx, self._states, room_id, requester.user_id)
        token, start = await self._start(tx, may, request)
        end = await place_of(tx, may.room.room_nid, request.end) if request.end else None
        limit = _limit(request.limit, request.filter)
        ignored = await ignored_users(tx, requester.user_id)
        reader = HistoryWalker(tx, self._states, requester.user_id, may, request.filter, ignored)
        walk = await reader.walk(start, end, limit, backwards=request.backwards)
        gap = await _gap(tx, may, start, walk) if request.backwards and may.is_joined else None
        answer: dict[str, Any] = {
            "start": token,
            "chunk": await self._events.render_bundled(tx, requester, walk.events),
        }
        # "If no further events are available [...] this property is omitted": at `to` there may be some, but not twice.
        # Where history is missing, who comes again asks other servers again.
        reached = place_token(walk.place)
        if not walk.is_over or (walk.events and (walk.at_end or gap is not None)):
            answer["end"] = reached
        if request.filter.lazy_load_members:
            answer["state"] = await self._senders(tx, may, walk.events)
        return _Page(answer, reached, gap)

    async def _start(self, tx: Transaction, may: Access, request: PageRequest) -> tuple[str, Place]:
        """The token and place at which a page begins: where the client says, or the end or beginning of what the user may see."""
        if request.start:
            return request.start, await first_place(
                tx, may.room.room_nid, request.start, backwards=request.backwards
            )
        if not request.backwards:
            return place_token(BEGINNING), BEGINNING
        position = may.until if may.until is not None else await positions.current(tx)
        return stream_token(position), newest_place(position)

    async def _senders(self, tx: Transaction, may: Access, events: Sequence[SeenEvent]) -> list[msgspec.Raw]:
        """The member events of those who sent the events, as of the first of the list."""
        if not events:
            return []
        keys = [(MEMBER, seen.stored.event.sender) for seen in events]
        root = _state_after(events[0].stored, may)
        found = await self._states.events(tx, root, list(dict.fromkeys(keys)))
        return await self._events.state(tx, found.values())

    async def _state(
        self, tx: Transaction, may: Access, shown: Sequence[SeenEvent], wanted: RoomEventFilter
    ) -> list[msgspec.Raw]:
        """The room's state at the last event, as far as the filter lets it through."""
        if not wanted.allows_room(may.room.room_id):
            return []
        senders = {seen.stored.event.sender for seen in shown}
        ids = await self._states.all_ids(tx, _state_after(shown[-1].stored, may))
        chosen = [
            event_id
            for (kind, state_key), event_id in ids.items()
            if kind != MEMBER or not wanted.lazy_load_members or state_key in senders
        ]
        found = await stored_events.load_accepted(tx, chosen)
        return await self._events.state(
            tx,
            [event for event in found.values() if wanted.allows(event.type, event.sender, event.content)],
        )


async def _gap(tx: Transaction, may: Access, start: Place, walk: Walk) -> Place | None:
    """How far back the walk came, if it came upon events that we do not have."""
    if walk.at_end:
        return None
    reached = Place(0, walk.place.position) if walk.is_over else walk.place
    gaps = await rooms.backward_extremities(tx, may.room.room_nid)
    # A gap is right before the event of the noted depth; at the very place reached it concerns the next page.
    return (
        reached
        if any(depth <= start.depth and (walk.is_over or depth > reached.depth) for depth in gaps.values())
        else None
    )


def _limit(limit: int | None, wanted: RoomEventFilter) -> int:
    asked = limit if limit is not None else wanted.limit
    return DEFAULT_LIMIT if asked is None else min(asked, MAX_LIMIT)


def _state_after(stored: StoredEvent, may: Access) -> Digest:
    return may.state if stored.state_after is None else stored.state_after
