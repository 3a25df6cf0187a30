"""The `timeline` of a room: its newest events since the last answer, as far as the reader may see and wants them."""

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.core.filters import RoomEventFilter
from homeserver.core.stream_tokens import stream_token
from homeserver.services.event_access import SeenEvent, visible
from homeserver.services.sync.request import Reader
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import Membership
from homeserver.storage.rooms import Room

DEFAULT_LIMIT = 10
MAX_LIMIT = 1_000
READ_AT_LEAST = 100
"""How many events are read at once when the filter may leave most of them out."""

MAX_READS = 20
"""How often more events are read when the filter or the history visibility let too few through."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events, oldest first. limited: whether there are more between the last answer and the first of them.

    first: the oldest event that was looked at, shown or not. until: the position that it goes up to.
    """

    events: list[SeenEvent]
    limited: bool
    first: StoredEvent | None
    until: int

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
        """The token from which /messages goes back in history; None when there is nothing before.

        It is one of the stream, right before the first event: so /messages brings all that came earlier, wherever in the room's
        history it belongs, and /members?at= the members at this point.
        """
        if self.first is None or self.first.position is None:
            return stream_token(self.until)
        if self.first.event.type == "m.room.create":
            return None
        return stream_token(max(self.first.position - 1, 0))


async def timeline(reader: Reader, room: Room, *, since: int | None, until: int) -> Timeline:
    """The newest events with `since` < position <= `until`; since None: of all that is not fetched history.

    It ends where events are missing that we may get from other servers: /messages fetches them.
    """
    wanted = reader.request.filter.room.timeline
    if not wanted.allows_room(room.room_id):
        return Timeline([], False, None, until)
    limit = min(wanted.limit if wanted.limit is not None else DEFAULT_LIMIT, MAX_LIMIT)
    gaps = await rooms.backward_extremities(reader.tx, room.room_nid)
    found: list[SeenEvent] = []
    first: StoredEvent | None = None
    upper, more, at_gap = until, True, False
    for _ in range(MAX_READS):
        missing = limit - len(found)
        batch, more = await stored_events.timeline(
            reader.tx,
            room.room_nid,
            after=since or 0,
            up_to=upper,
            limit=missing if wanted.lets_all_through else max(missing, READ_AT_LEAST),
        )
        if gaps and (whole := _after_gap(batch, gaps)) is not None:
            batch, at_gap = whole, True
        if batch:
            seen = _wanted(
                wanted,
                await visible(reader.tx, reader.states, reader.user_id, batch, reader.unwanted.ignored),
            )
            first = batch[0]
            if len(seen) > missing:
                seen, more = seen[len(seen) - missing :], True
                first = seen[0].stored if seen else batch[-1]
            found = seen + found
            upper = (first.position or 1) - 1
        if not more or at_gap or len(found) >= limit:
            break
    is_new = since is None and first is not None and first.event.type != "m.room.create"
    return Timeline(found, more or at_gap or is_new, first, until)


async def membership_alone(reader: Reader, membership: Membership) -> Timeline:
    """The event that made the reader's membership of a room what it is, and nothing else of the room."""
    wanted = reader.request.filter.room.timeline
    own = await stored_events.get(reader.tx, membership.event_id)
    shown = [SeenEvent(own, membership.membership)] if own and wanted.limit != 0 else []
    if not wanted.allows_room(membership.room_id):
        shown = []
    return Timeline(_wanted(wanted, shown), False, own, membership.position)


def _after_gap(batch: list[StoredEvent], gaps: Collection[str]) -> list[StoredEvent] | None:
    """The events from the newest one on that refers to one that is missing; None when none does."""
    for index in range(len(batch) - 1, -1, -1):
        if any(event_id in gaps for event_id in batch[index].event.prev_event_ids):
            return batch[index:]
    return None


def _wanted(wanted: RoomEventFilter, events: list[SeenEvent]) -> list[SeenEvent]:
    if wanted.lets_all_through:
        return events
    return [
        seen
        for seen in events
        if wanted.allows(seen.stored.event.type, seen.stored.event.sender, seen.stored.event.content)
    ]
