"""What another server may ask of a room: whether it may take part, and which events it may see.

Everything here runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.core import errors
from homeserver.core.events import Event, StateKey, redact
from homeserver.core.server_acl import server_acl_refusal
from homeserver.core.state_map import Digest
from homeserver.core.visibility import HistoryVisibility, server_may_see
from homeserver.services.erasure import erased_senders, is_erasable
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import expelled_servers, memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room

EVERY_MEMBERSHIP = ("join", "invite", "knock", "leave", "ban")
_VISIBILITY: StateKey = ("m.room.history_visibility", "")


async def acl_refusal(tx: Transaction, states: RoomStates, room: Room, server: str) -> str | None:
    """Why the room's server ACL keeps a server out; None when it does not.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
    """
    acl = await states.event(tx, room.current_state, "m.room.server_acl")
    return server_acl_refusal(acl.content if acl else None, server)


async def known_room(tx: Transaction, states: RoomStates, room_id: str, origin: str) -> Room:
    """A room that we know and that lets `origin` in. Raises M_NOT_FOUND, M_FORBIDDEN."""
    room = await rooms.get(tx, room_id)
    if room is None:
        raise errors.not_found(f"This server does not know the room {room_id}")
    refusal = await acl_refusal(tx, states, room, origin)
    if refusal:
        raise errors.forbidden(f"{origin} may not take part in {room_id}: {refusal}")
    return room


async def shared_room(tx: Transaction, states: RoomStates, room_id: str, origin: str) -> Room:
    """A room that we know and that `origin` is in. Raises M_NOT_FOUND, M_FORBIDDEN."""
    room = await known_room(tx, states, room_id, origin)
    if not await memberships.is_server_joined(tx, room.room_nid, origin):
        raise errors.forbidden(f"{origin} is not in the room {room_id}")
    return room


@dataclass(frozen=True, slots=True)
class SharedGraph:
    """A room whose graph a server may ask for.

    until: the stream's position up to which it may; None: all of it. whole_until: that up to which it may see what others say.
    """

    room: Room
    until: int | None = None
    whole_until: int | None = None

    def has(self, stored: StoredEvent) -> bool:
        """Whether an event is a part of it."""
        if stored.room_nid != self.room.room_nid:
            return False
        return _is_within(stored, self.until)

    async def given(
        self, tx: Transaction, states: RoomStates, server: str, events: Sequence[StoredEvent]
    ) -> list[Event]:
        """Events of it as the server may be given them."""
        seen = await as_server_may_see(tx, states, self.room, server, events)
        return [
            event if _is_within(stored, self.whole_until) else redact(event)
            for stored, event in zip(events, seen, strict=True)
        ]


def _is_within(stored: StoredEvent, until: int | None) -> bool:
    return until is None or stored.position is None or stored.position <= until


async def shared_graph(tx: Transaction, states: RoomStates, room_id: str, origin: str) -> SharedGraph:
    """A room that we know and that `origin` is in, or was in until states were resolved, of which it has to learn.

    Raises M_NOT_FOUND, M_FORBIDDEN.
    """
    room = await known_room(tx, states, room_id, origin)
    if await memberships.is_server_joined(tx, room.room_nid, origin):
        return SharedGraph(room)
    expelled = await expelled_servers.get(tx, room.room_nid, origin)
    if expelled is None:
        raise errors.forbidden(f"{origin} is not in the room {room_id}")
    return SharedGraph(room, expelled.told_position or expelled.position, expelled.position)


async def as_server_may_see(
    tx: Transaction, states: RoomStates, room: Room, server: str, events: Sequence[StoredEvent]
) -> list[Event]:
    """The events as a server may be given them, in the order given: redacted where no user of that server may see them.

    Redacted, they still let the server know the room's graph and check what builds on them.
    Spec: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
    """
    whole = await seen_by_server(tx, states, room, server, events)
    whole = await _without_erased(tx, states, server, whole)
    seen = {stored.event.event_id for stored in whole}
    return [stored.event if stored.event.event_id in seen else redact(stored.event) for stored in events]


async def seen_by_server(
    tx: Transaction, states: RoomStates, room: Room, server: str, events: Sequence[StoredEvent]
) -> list[StoredEvent]:
    """Those of the events that a user of the server may see, in the order given.

    The state at each event decides, and is looked up once for each distinct state.
    Spec: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
    """
    users = await memberships.local_users(tx, room.room_nid, server, EVERY_MEMBERSHIP)
    roots = {
        root for stored in events for root in (stored.state_before, stored.state_after) if root is not None
    }
    visible = await _visible_roots(tx, states, roots, users)
    seen = []
    for stored in events:
        places = [root for root in (stored.state_before, stored.state_after) if root is not None]
        # An outlier has no place; it came to us as part of the state or the auth chain of what that server sees.
        if not places or any(root in visible for root in places):
            seen.append(stored)
    return seen


async def _without_erased(
    tx: Transaction, states: RoomStates, server: str, events: Sequence[StoredEvent]
) -> list[StoredEvent]:
    """The events without those of erased users that were sent when nobody of that server was in the room."""
    erased = await erased_senders(tx, (stored.event for stored in events))
    if not erased:
        return list(events)
    kept = []
    for stored in events:
        root = stored.state_before
        is_erased = stored.event.sender in erased and is_erasable(stored.event)
        if is_erased and root is not None:
            users = await memberships.local_users(tx, stored.room_nid, server, EVERY_MEMBERSHIP)
            members = await states.events(tx, root, [("m.room.member", user) for user in users])
            is_erased = all(event.membership != "join" for event in members.values())
        if not is_erased:
            kept.append(stored)
    return kept


async def _visible_roots(
    tx: Transaction, states: RoomStates, roots: Iterable[Digest], users: Sequence[str]
) -> set[Digest]:
    """Those states in which one of the users may see what happens."""
    visibilities = {root: await states.ids(tx, root, [_VISIBILITY]) for root in roots}
    found = await stored_events.load_accepted(
        tx, {event_id for ids in visibilities.values() for event_id in ids.values()}
    )
    visible = set()
    for root, ids in visibilities.items():
        event = found.get(ids.get(_VISIBILITY, ""))
        visibility = frozenset({HistoryVisibility.of(event.content if event else None)})
        if server_may_see(visibility, frozenset()):
            visible.add(root)
            continue
        members = await states.events(tx, root, [("m.room.member", user) for user in users])
        if server_may_see(visibility, frozenset(event.membership or "" for event in members.values())):
            visible.add(root)
    return visible
