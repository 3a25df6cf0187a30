"""Which thread of its room an event is in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from homeserver.core.receipts import MAIN
from homeserver.core.relations import THREAD, relation_of
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent

MAX_HOPS: Final = 3
"""How many relations are followed: "a maximum of 3 hops is recommended to cover indirect relationships"."""


@dataclass(frozen=True, slots=True)
class ThreadPlace:
    """thread_id: the ID of the root of the thread that an event is in, or `main`. related_to: the events that it relates to,
    directly or through others."""

    thread_id: str
    related_to: frozenset[str]


async def thread_place(tx: Transaction, stored: StoredEvent) -> ThreadPlace:
    """Where an event is among the threads of its room.

    An event is in a thread if it has a relation of type m.thread, or if an event that it relates to has. "Thread roots are
    considered to be in the main timeline, as are events that are related to a thread root via non-thread relations."
    """
    now: StoredEvent | None = stored
    passed: list[str] = []
    while now is not None and now.room_nid == stored.room_nid and len(passed) <= MAX_HOPS:
        relation = relation_of(now.event.content)
        if relation is None:
            break
        passed.append(relation.parent)
        if relation.rel_type == THREAD:
            return ThreadPlace(relation.parent, frozenset(passed))
        now = await stored_events.get(tx, relation.parent)
    return ThreadPlace(MAIN, frozenset(passed))


async def thread_of(tx: Transaction, stored: StoredEvent) -> str:
    """The ID of the root of the thread that an event is in, or `main`."""
    return (await thread_place(tx, stored)).thread_id
