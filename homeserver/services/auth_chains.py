"""The auth chains of stored events: the events that authorise them, those that authorise these, and so on.

Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Iterable

from homeserver.core.events import Event
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction

MAX_AUTH_CHAIN = 200_000


async def auth_chain(tx: Transaction, events: Iterable[Event]) -> dict[str, Event]:
    """The full auth chain of some events by event ID, without these events unless they authorise each other.

    One query a level of the chain. Rejected events are part of it: they are what was relied on.
    """
    chain: dict[str, Event] = {}
    wanted = {event_id for event in events for event_id in event.auth_event_ids_with_create}
    while wanted and len(chain) < MAX_AUTH_CHAIN:
        found = {
            event_id: stored.event for event_id, stored in (await stored_events.get_many(tx, wanted)).items()
        }
        chain.update(found)
        wanted = {
            event_id
            for event in found.values()
            for event_id in event.auth_event_ids_with_create
            if event_id not in chain
        }
    return chain
