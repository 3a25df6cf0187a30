"""What of a room a user may read: its state, and which of its events, with what the user was in the room at each.

Runs inside a unit of work. The state at an event is looked up once for each distinct state map of the list, not once an event.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from homeserver.core import errors
from homeserver.core.events import Event, StateKey, redact
from homeserver.core.state_map import Digest
from homeserver.core.visibility import Circumstances, HistoryVisibility, may_see
from homeserver.services.erasure import erased_senders, is_erasable
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room

VISIBILITY: StateKey = ("m.room.history_visibility", "")


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event as a user may see it.

    membership: what the user was in the room at the event, `leave` when nothing; None where nobody asks.
    """

    stored: StoredEvent
    membership: str | None


@dataclass(frozen=True, slots=True)
class Stay:
    """The last time that a user was joined to a room. ended: the event that ended it; None while it lasts."""

    ended: StoredEvent | None

    def begins_after(self, stored: StoredEvent) -> bool:
        """Whether the user was joined at some point after an event."""
        if self.ended is None:
            return True
        if stored.position is None or self.ended.position is None:
            return False
        if stored.position < 0 or self.ended.position < 0:
            # History that was fetched later has no place in the stream; only in the room.
            return stored.event.depth <= self.ended.event.depth
        return stored.position <= self.ended.position


@dataclass(frozen=True, slots=True)
class Access:
    """How a user may read a room.

    state: the root of the state that the user may see: the current one, or that when the user left. until: the position at
    which the user left; None for those who may read on. is_joined: whether the user is a member, and not only looking in.
    """

    room: Room
    state: Digest
    until: int | None
    is_joined: bool


@dataclass(frozen=True, slots=True)
class _AtRoot:
    visibility: HistoryVisibility
    membership: str | None


async def access(tx: Transaction, states: RoomStates, room_id: str, user_id: str) -> Access:
    """How the user may read the room: as a member, as one who has left it, or because all the world may.

    Raises M_FORBIDDEN for anybody else, and for a room that we do not know, so that nobody learns which rooms there are.
    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
    """
    room = await rooms.get(tx, room_id)
    if room is not None:
        now = await memberships.get(tx, room.room_nid, user_id)
        if now is not None and now.membership == "join":
            return Access(room, room.current_state, None, True)
        visibility = await states.event(tx, room.current_state, *VISIBILITY)
        if (
            HistoryVisibility.of(visibility.content if visibility else None)
            is HistoryVisibility.WORLD_READABLE
        ):
            return Access(room, room.current_state, None, False)
        stay = await last_stay(tx, states, room.room_nid, user_id)
        # "a user will no longer be able to retrieve history for this room" once it is forgotten
        if stay and stay.ended and stay.ended.position is not None and now and not now.forgotten:
            until = stay.ended.position
            return Access(room, await rooms.state_at_position(tx, room.room_nid, until), until, False)
    raise errors.forbidden(f"You are not in the room {room_id} and have not been in it, or it does not exist")


async def joined_room(tx: Transaction, room_id: str, user_id: str) -> Room:
    """A room that the user is in. Raises M_FORBIDDEN for any other, so that nobody learns which rooms there are."""
    room = await rooms.get(tx, room_id)
    mine = await memberships.get(tx, room.room_nid, user_id) if room else None
    if room is None or mine is None or mine.membership != "join":
        raise errors.forbidden(f"You are not in the room {room_id[:255]}, or it does not exist")
    return room


async def visible(
    tx: Transaction,
    states: RoomStates,
    user_id: str,
    events: Sequence[StoredEvent],
    ignored: Collection[str] = (),
) -> list[SeenEvent]:
    """The events of one room that the user may see, in the order given.

    Rejected and soft-failed events, and outliers, are never seen. ignored: the users of whom the user wants to see nothing
    (`services/ignored_users.py`) but state, "to ensure parts, such as the room name, do not appear different to the user".
    """
    if ignored:
        events = [each for each in events if each.event.is_state or each.event.sender not in ignored]
    if not events:
        return []
    roots = {
        root for stored in events for root in (stored.state_before, stored.state_after) if root is not None
    }
    at = await _at_roots(tx, states, user_id, roots)
    stay = await last_stay(tx, states, events[0].room_nid, user_id)
    seen = []
    for stored in events:
        if stored.status != stored_events.EventStatus.ACCEPTED or stored.position is None:
            continue
        circumstances = _circumstances(stored, at, stay is not None and stay.begins_after(stored))
        # Whoever refuses an invite, or whose invite is taken back, is told so, whatever the history visibility is.
        own = stored.event.type == "m.room.member" and stored.event.state_key == user_id
        if own or may_see(circumstances):
            after = at.get(stored.state_after) if stored.state_after is not None else None
            seen.append(SeenEvent(stored, (after.membership if after else None) or "leave"))
    return await _without_erased(tx, user_id, seen)


async def visible_in_rooms(
    tx: Transaction,
    states: RoomStates,
    user_id: str,
    events: Iterable[StoredEvent],
    ignored: Collection[str] = (),
) -> list[SeenEvent]:
    """The same for events of several rooms: room by room, those of each in the order given."""
    by_room: dict[int, list[StoredEvent]] = {}
    for stored in events:
        by_room.setdefault(stored.room_nid, []).append(stored)
    return [
        seen for of_room in by_room.values() for seen in await visible(tx, states, user_id, of_room, ignored)
    ]


async def _without_erased(tx: Transaction, user_id: str, seen: list[SeenEvent]) -> list[SeenEvent]:
    """Events of erased users are redacted for who was not in the room at the event, nor in it when the sender was erased."""
    erased = await erased_senders(tx, (each.stored.event for each in seen))
    if not erased:
        return seen
    now = await memberships.get(tx, seen[0].stored.room_nid, user_id)
    joined_at = now.position if now is not None and now.membership == "join" else None

    def shown(each: SeenEvent) -> SeenEvent:
        event = each.stored.event
        erased_at = erased.get(event.sender) if is_erasable(event) and event.sender != user_id else None
        if erased_at is None or each.membership == "join":
            return each
        if joined_at is not None and joined_at <= erased_at:
            return each
        return replace(each, stored=replace(each.stored, event=redact(event)))

    return [shown(each) for each in seen]


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


async def last_stay(tx: Transaction, states: RoomStates, room_nid: int, user_id: str) -> Stay | None:
    """The last time that the user was joined to the room; None for one who never was, as far as we know."""
    now = await memberships.get(tx, room_nid, user_id)
    if now is None:
        return None
    if now.membership == "join":
        return Stay(None)
    member: StateKey = ("m.room.member", user_id)
    left = await stored_events.get(tx, now.event_id)
    while left is not None and left.state_before is not None and left.position is not None:
        before = (await states.events(tx, left.state_before, [member])).get(member)
        if before is None:
            return None
        if before.membership == "join":
            return Stay(left)
        left = await stored_events.get(tx, before.event_id)
    return None
