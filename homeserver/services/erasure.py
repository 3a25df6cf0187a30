"""What is shown of the events of users who have asked to be erased.

"Erasure means that any users (or servers) which join the room after the erasure request are served redacted copies of the events
sent by this account. Users which had visibility on those events prior to the erasure are still able to see unredacted copies."

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
"""

from __future__ import annotations

from collections.abc import Iterable

from homeserver.core.events import Event
from homeserver.storage import accounts
from homeserver.storage.database import Transaction


async def erased_senders(tx: Transaction, events: Iterable[Event]) -> dict[str, int]:
    """Those who have sent some of these events and have asked to be erased, with the position at which they did."""
    senders = {event.sender for event in events if is_erasable(event)}
    return await accounts.erased(tx, senders) if senders else {}


def is_erasable(event: Event) -> bool:
    """Whether the event is its sender's alone: what a user has set for a whole room (its name, who may do what) stays."""
    return not event.is_state or (event.type == "m.room.member" and event.state_key == event.sender)
