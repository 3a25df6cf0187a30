"""Which events of a room a user may see, and as what the user was in the room at each.

Runs inside a unit of work. The state at an event is looked up once for each distinct state map of the list, not once an event.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.core.events import Event, StateKey
from homeserver.core.state_map import Digest
from homeserver.core.visibility import Circumstances, HistoryVisibility, may_see
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent

VISIBILITY: StateKey = ("m.room.history_visibility", "")


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event as a user may see it.

    membership: what the user was in the room at the event, `leave` when nothing; None where nobody asks.
    """

    stored: StoredEvent
    membership: str | None


@dataclass(frozen=True, slots=True)
class _AtRoot:
    visibility: HistoryVisibility
    membership: str | None


async def visible(
    tx: Transaction, states: RoomStates, user_id: str, events: Sequence[StoredEvent]
) -> list[SeenEvent]:
    """The events of one room that the user may see, in the order given.

    Rejected and soft-failed events, and outliers, are never seen.
    """
    if not events:
        return []
    roots = {
        root for stored in events for root in (stored.state_before, stored.state_after) if root is not None
    }
    at = await _at_roots(tx, states, user_id, roots)
    joined_until = await _joined_until(tx, states, events[0].room_nid, user_id)
    seen = []
    for stored in events:
        if stored.status != stored_events.EventStatus.ACCEPTED or stored.position is None:
            continue
        circumstances = _circumstances(stored, at, stored.position <= joined_until)
        # Whoever refuses an invite, or whose invite is taken back, is told so, whatever the history visibility is.
        own = stored.event.type == "m.room.member" and stored.event.state_key == user_id
        if own or may_see(circumstances):
            after = at.get(stored.state_after) if stored.state_after is not None else None
            seen.append(SeenEvent(stored, (after.membership if after else None) or "leave"))
    return seen


def _circumstances(stored: StoredEvent, at: dict[Digest, _AtRoot], joined_later: bool) -> Circumstances:
    # The states before and after an event differ in nothing but what the event itself sets, so asking both changes nothing
    # but for the two kinds of event for which the specification asks both.
    places = [at[root] for root in (stored.state_before, stored.state_after) if root is not None]
    return Circumstances(
        frozenset(place.visibility for place in places) or frozenset({HistoryVisibility.SHARED}),
        frozenset(place.membership for place in places),
        joined_later,
    )


async def _at_roots(
    tx: Transaction, states: RoomStates, user_id: str, roots: set[Digest]
) -> dict[Digest, _AtRoot]:
    """The history visibility and the user's membership in each of these states, with one query for all their events."""
    member: StateKey = ("m.room.member", user_id)
    ids = {root: await states.ids(tx, root, [VISIBILITY, member]) for root in roots}
    found = await stored_events.load_accepted(
        tx, {event_id for entry in ids.values() for event_id in entry.values()}
    )

    def event(root: Digest, key: StateKey) -> Event | None:
        event_id = ids[root].get(key)
        return found.get(event_id) if event_id else None

    at = {}
    for root in roots:
        visibility, membership = event(root, VISIBILITY), event(root, member)
        at[root] = _AtRoot(
            HistoryVisibility.of(visibility.content if visibility else None),
            membership.membership if membership else None,
        )
    return at


async def _joined_until(tx: Transaction, states: RoomStates, room_nid: int, user_id: str) -> int:
    """The position up to which the user was joined to the room at some later point: 2**62 for a joined user, that of leaving
    for one who was joined and left, and -2**62 for one who never was."""
    now = await memberships.get(tx, room_nid, user_id)
    if now is None:
        return -(2**62)
    if now.membership == "join":
        return 2**62
    left = await stored_events.get(tx, now.event_id)
    while left is not None and left.state_before is not None and left.position is not None:
        before = (await states.events(tx, left.state_before, [("m.room.member", user_id)])).get(
            ("m.room.member", user_id)
        )
        if before is None:
            return -(2**62)
        if before.membership == "join":
            return left.position
        left = await stored_events.get(tx, before.event_id)
    return -(2**62)
