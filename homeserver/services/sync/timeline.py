"""The `timeline` of a room: its newest events since the last answer, as far as the reader may see and wants them."""

from dataclasses import dataclass

from homeserver.core.filters import RoomEventFilter
from homeserver.core.stream_tokens import Place, place_token
from homeserver.services.event_access import SeenEvent, visible
from homeserver.services.sync.request import Reader
from homeserver.storage import events as stored_events
from homeserver.storage.events import StoredEvent

DEFAULT_LIMIT = 10
MAX_LIMIT = 1_000
READ_AT_LEAST = 100
"""How many events are read at once when the filter may leave most of them out."""

MAX_READS = 20
"""How often more events are read when the filter or the history visibility let too few through."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events, oldest first. limited: whether there are more between the last answer and the first of them.

    first: the oldest event that was looked at, shown or not: where `prev_batch` points.
    """

    events: list[SeenEvent]
    limited: bool
    first: StoredEvent | None

    @property
    def ids(self) -> set[str]:
        """The IDs of the events."""
        return {seen.stored.event.event_id for seen in self.events}

    @property
    def senders(self) -> set[str]:
        """Who sent the events."""
        return {seen.stored.event.sender for seen in self.events}

    @property
    def prev_batch(self) -> str | None:
        """The token from which /messages goes back in history; None when there is nothing before."""
        if self.first is None or self.first.position is None:
            return None
        return place_token(Place(self.first.event.depth, self.first.position))


async def timeline(reader: Reader, room_nid: int, *, since: int | None, until: int) -> Timeline:
    """The newest events with `since` < position <= `until`; since None: of all that is not fetched history."""
    wanted = reader.request.filter.room.timeline
    limit = min(wanted.limit if wanted.limit is not None else DEFAULT_LIMIT, MAX_LIMIT)
    found: list[SeenEvent] = []
    first: StoredEvent | None = None
    upper, more = until, True
    for _ in range(MAX_READS):
        missing = limit - len(found)
        batch, more = await stored_events.timeline(
            reader.tx,
            room_nid,
            after=since or 0,
            up_to=upper,
            limit=missing if wanted.lets_all_through else max(missing, READ_AT_LEAST),
        )
        if batch:
            seen = _wanted(wanted, await visible(reader.tx, reader.states, reader.user_id, batch))
            first = batch[0]
            if len(seen) > missing:
                seen, more = seen[len(seen) - missing :], True
                first = seen[0].stored if seen else batch[-1]
            found = seen + found
            upper = (first.position or 1) - 1
        if not more or len(found) >= limit:
            break
    limited = more or (since is None and first is not None and first.event.type != "m.room.create")
    return Timeline(found, limited, first)


def _wanted(wanted: RoomEventFilter, events: list[SeenEvent]) -> list[SeenEvent]:
    if wanted.lets_all_through:
        return events
    return [
        seen
        for seen in events
        if wanted.allows(seen.stored.event.type, seen.stored.event.sender, seen.stored.event.content)
    ]
