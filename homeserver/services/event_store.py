"""Where events are stored with their place, and where they are redacted: with all that is kept beside them.

What is found without reading events (who relates to whom, ...) stands in tables of its own, in step with the events because it is
written in the same unit of work. To keep something more of this kind, add its storage module to `BESIDE`, and fill it in its
migration for the events that there are (as `0060_relations` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from homeserver.core.events import Event, has_valid_content_hash, redact
from homeserver.core.room_versions import EventIDFormat
from homeserver.storage import events as stored_events
from homeserver.storage import notifications, relations, search
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent


class Beside(Protocol):
    """A storage module with what is kept beside events."""

    async def add(self, tx: Transaction, events: Sequence[StoredEvent]) -> None:
        """Events that clients may see have got their place: new ones, fetched history, and what was known without a place."""
        ...

    async def remove(self, tx: Transaction, event: StoredEvent) -> None:
        """An event has been redacted; given as it was before."""
        ...


BESIDE: Final[Sequence[Beside]] = (relations, search)


DUMMY_EVENT: Final = "org.matrix.dummy_event"
"""Sent only to join the ends of a room's graph, here as in Synapse; it says nothing."""


def accepted_as(event: Event) -> EventStatus:
    """How an event that was accepted is stored: whether clients are shown it."""
    return EventStatus.WITHHELD if event.type == DUMMY_EVENT and not event.is_state else EventStatus.ACCEPTED


def as_kept(event: Event, known: StoredEvent | None) -> Event:
    """The form of an event that is judged and kept, when we have it as an outlier already.

    That is the stored one: it may have been redacted since, and where servers choose the event IDs the new one may be another
    event altogether. Only if what we have was tampered with on its way, and so was stored redacted, the new one is better.
    """
    if known is None:
        return event
    chosen = event.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
    if chosen or known.redacted_by or has_valid_content_hash(known.event):
        return known.event
    return event


async def place(tx: Transaction, room_nid: int, events: Sequence[NewEvent]) -> dict[str, StoredEvent]:
    """Store events of a room with their place in the graph; returns them as they are stored, by event ID."""
    nids = await stored_events.place_many(tx, room_nid, events)
    stored = {
        event_id: stored_events.as_stored(new, nids[event_id], room_nid)
        for new in events
        if (event_id := new.event.event_id) in nids
    }
    shown = [each for each in stored.values() if each.status is EventStatus.ACCEPTED]
    if shown:
        for beside in BESIDE:
            await beside.add(tx, shown)
    return stored


async def apply_redaction(tx: Transaction, target: StoredEvent, redaction_event_id: str) -> None:
    """Replace an event with its redacted form, for good."""
    await stored_events.set_redacted(tx, redact(target.event), redaction_event_id)
    if target.position is not None:
        await notifications.remove(tx, target.room_nid, target.position)
    for beside in BESIDE:
        await beside.remove(tx, target)
