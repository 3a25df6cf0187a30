"""Which thread of its room an event is in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
"""

from __future__ import annotations

from typing import Final

from homeserver.core.receipts import MAIN
from homeserver.core.relations import THREAD, relation_of
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent

MAX_HOPS: Final = 3
"""How many relations are followed: "a maximum of 3 hops is recommended to cover indirect relationships"."""


async def thread_of(tx: Transaction, stored: StoredEvent) -> str:
    """The ID of the root of the thread that an event is in, or `main`.

    An event is in a thread if it has a relation of type m.thread, or if an event that it relates to has. "Thread roots are
    considered to be in the main timeline, as are events that are related to a thread root via non-thread relations."
    """
    now: StoredEvent | None = stored
    for hop in range(MAX_HOPS + 1):
        if now is None or now.room_nid != stored.room_nid:
            return MAIN
        relation = relation_of(now.event.content)
        if relation is None:
            return MAIN
        if relation.rel_type == THREAD:
            return relation.parent
        if hop < MAX_HOPS:
            now = await stored_events.get(tx, relation.parent)
    return MAIN
