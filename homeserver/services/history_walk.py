"""Walking through a room's history, event by event, as far as one user may see it.

Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from homeserver.core.filters import RoomEventFilter
from homeserver.core.stream_tokens import Place
from homeserver.services.event_access import Access, SeenEvent, visible
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent

READ_AT_LEAST = 100
"""How many events are read at once when most of them may be left out."""

MAX_READS = 20
"""How often more events are read when the filter or the history visibility let too few through."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What was read on a walk through history.

    place: how far it came. is_over: whether there is nothing further. at_end: whether it stopped at the place it was to end at.
    """

    events: list[SeenEvent]
    place: Place
    is_over: bool
    at_end: bool


@dataclass(frozen=True, slots=True)
class HistoryWalker:
    """Walks through a room's history for one user. wanted: which of its events count. ignored: the users whom the user ignores."""

    tx: Transaction
    states: RoomStates
    user_id: str
    may: Access
    wanted: RoomEventFilter
    ignored: Collection[str]

    async def walk(self, start: Place, end: Place | None, limit: int, *, backwards: bool) -> Walk:
        """Up to `limit` events from `start`, and not beyond `end`, that the user may see and wants."""
        if not self.wanted.allows_room(self.may.room.room_id):
            return Walk([], start, True, False)
        found: list[SeenEvent] = []
        at, is_over, at_end = start, False, False
        for turn in range(MAX_READS):
            missing = limit - len(found)
            if missing <= 0 or is_over:
                break
            few = turn == 0 and self.wanted.lets_all_through
            asked = missing if few else max(missing, READ_AT_LEAST)
            rows = await stored_events.page(
                self.tx, self.may.room.room_nid, start=at, backwards=backwards, limit=asked
            )
            is_over = len(rows) < asked
            within = rows if end is None else [row for row in rows if is_before(row, end, backwards)]
            if len(within) < len(rows):
                is_over, at_end = True, True
            seen = self._chosen(await visible(self.tx, self.states, self.user_id, within, self.ignored))
            if len(seen) > missing:
                seen, is_over, at_end = seen[:missing], False, False
                at = place_beside(seen[-1].stored, backwards=backwards, until=start.until)
            elif at_end and end is not None:
                at = replace(end, until=start.until)
            elif within:
                at = place_beside(within[-1], backwards=backwards, until=start.until)
            found += seen
        return Walk(found, at, is_over, at_end)

    def _chosen(self, events: list[SeenEvent]) -> list[SeenEvent]:
        if self.wanted.lets_all_through:
            return events
        return [
            seen
            for seen in events
            if self.wanted.allows(seen.stored.event.type, seen.stored.event.sender, seen.stored.event.content)
        ]


def place_beside(stored: StoredEvent, *, backwards: bool, until: int | None = None) -> Place:
    """The place right before an event, for who goes backwards, or right after it."""
    position = stored.position or 0
    return Place(stored.event.depth, position - 1 if backwards else position, until)


def is_before(stored: StoredEvent, end: Place, backwards: bool) -> bool:
    """Whether the event lies on this side of the place where a walk is to end."""
    place = Place(stored.event.depth, stored.position or 0)
    return place > end if backwards else place <= end
