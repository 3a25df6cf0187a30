"""The only writer of room graphs: every event, ours or another server's, becomes part of its room here.

A `GraphWriter` is one unit of work on one room. It is opened on the room as it stands, is given events one after the other
(each after those it refers to), decides on each, and on `close` writes them all at once: the events, the new ends of the graph,
the current state, the members, and what is to be sent to other servers. Should another writer have moved the room in between,
`close` raises RoomMoved and the whole unit is repeated.

Everything here runs inside a unit of work: it awaits nothing but `tx`, so that SQLite needs one hop to its thread.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from homeserver.core.auth_rules import Refusal, auth_keys, authorise, check_auth_events
from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import is_valid_server_name
from homeserver.core.power_levels import CREATE
from homeserver.core.state_map import EMPTY, Digest
from homeserver.services import event_store
from homeserver.services.event_places import refusal_by_place
from homeserver.services.notifier import Arrival, Committed
from homeserver.services.redactions import apply_redactions
from homeserver.services.room_deliveries import Deliveries, deliver
from homeserver.services.room_state import RoomStates
from homeserver.services.state_marks import mark_changes
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, positions, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from homeserver.storage.memberships import NOBODY_MOVED, MembersMoved
from homeserver.storage.rooms import Room

MAX_REFUSED_BETWEEN = 100
"""How many refused events are looked through for ends of the graph that lie before an accepted one."""

MANY_ENDS = 10
"""A graph with more ends than this should have them joined (`graph_merging`)."""


class MissingEvents(Exception):
    """Events that this one refers to are not here; fetch them, or give the state before the event."""

    def __init__(self, *, prev_events: Collection[str] = (), auth_events: Collection[str] = ()) -> None:
        """The IDs of what is missing."""
        super().__init__(f"missing prev events {sorted(prev_events)}, auth events {sorted(auth_events)}")
        self.prev_events = frozenset(prev_events)
        self.auth_events = frozenset(auth_events)


class Verdict(Enum):
    """What became of an event that was offered to the graph."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft_failed"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


_REFUSED_AS = {
    Verdict.SOFT_FAILED: EventStatus.SOFT_FAILED,
    Verdict.REJECTED: EventStatus.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on an event, with the rule that refused it. For a duplicate `stored_as` says what it was found to be first."""

    event: Event
    verdict: Verdict
    refusal: Refusal | None = None
    stored_as: EventStatus | None = None


@dataclass(frozen=True, slots=True)
class End:
    """A forward extremity, as far as building on it needs it."""

    event: Event
    state_after: Digest


class GraphWriter:
    """One unit of work on one room's graph."""

    def __init__(self, tx: Transaction, states: RoomStates, server_name: str, room: Room) -> None:
        """Use `open` or `create`."""
        self._tx = tx
        self._states = states
        self._server_name = server_name
        self.room = room
        self.current_state: Digest = room.current_state
        self._ends: dict[str, End] = {}
        self._ends_before: frozenset[str] = frozenset()
        self._gaps_opened: dict[str, int] = {}
        self._gaps_closed: set[str] = set()
        self._added: dict[str, NewEvent] = {}
        # What this unit of work has read, so that it reads nothing twice; None: it is not there.
        self._read: dict[str, StoredEvent | None] = {}
        self._relayed: dict[str, frozenset[str]] = {}
        # The new events that others may have referred to before they came.
        self._received: set[str] = set()

    @classmethod
    async def open(cls, tx: Transaction, states: RoomStates, server_name: str, room: Room) -> "GraphWriter":
        """Begin to write to a room that exists."""
        writer = cls(tx, states, server_name, room)
        for stored in await stored_events.forward_extremities(tx, room.room_nid):
            event_id = stored.event.event_id
            writer._read[event_id] = stored
            if stored.state_after is not None:
                writer._ends[event_id] = End(stored.event, stored.state_after)
        writer._ends_before = frozenset(writer._read)
        return writer

    @classmethod
    async def create(
        cls, tx: Transaction, states: RoomStates, server_name: str, room_id: str, version: str
    ) -> "GraphWriter":
        """Begin a room that we know nothing of yet."""
        return cls(tx, states, server_name, await rooms.create(tx, room_id, version))

    @property
    def ends(self) -> Mapping[str, End]:
        """The forward extremities as they stand now, by event ID."""
        return self._ends

    async def add(
        self,
        event: Event,
        *,
        state_before: Digest | None = None,
        local: bool = False,
        relay_except: Collection[str] | None = None,
    ) -> Outcome:
        """Decide on an event and make it part of the graph.

        state_before: the root of the state before it, when it is known from elsewhere; else it follows from the prev events.
        local: our own event, which is not judged a second time by the current state.
        relay_except: None for an event that its own server sends to the others; else we send it to all servers in the room
        but these.

        The event in the outcome is the one that is kept. Raises MissingEvents, before anything is written, when events that it
        refers to are not here.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
        """
        event_id = event.event_id
        await self._load([event_id, *event.prev_event_ids, *event.auth_event_ids_with_create])
        if event_id in self._added:
            return Outcome(event, Verdict.DUPLICATE, stored_as=self._added[event_id].status)
        known = self._read[event_id]
        if known and not known.is_outlier and known.room_nid == self.room.room_nid:
            return Outcome(event, Verdict.DUPLICATE, stored_as=known.status)
        refusal = await refusal_by_place(
            self._tx, self._states, self.room.room_nid, self.current_state, event, self._read
        )
        if refusal:
            return Outcome(event, Verdict.REJECTED, refusal)
        event = event_store.as_kept(event, known)
        self._received.add(event_id)
        before = await self._state_before(event) if state_before is None else state_before
        refusal = self._refusal_by_auth_events(event) or await self._refusal_by_state(event, before)
        if refusal:
            await self._place(event, Verdict.REJECTED, before, before, refusal)
            return Outcome(event, Verdict.REJECTED, refusal)
        after = await self._state_after(event, before)
        if not local:
            refusal = await self._refusal_by_current_state(event, before, after_gap=state_before is not None)
        if refusal:
            await self._place(event, Verdict.SOFT_FAILED, before, after, refusal)
            return Outcome(event, Verdict.SOFT_FAILED, refusal)
        await self._place(event, Verdict.ACCEPTED, before, after, None)
        if relay_except is not None:
            self._relayed[event_id] = frozenset(relay_except)
        return Outcome(event, Verdict.ACCEPTED)

    async def append(self, event: Event, before: Digest) -> Outcome:
        """Add an event of ours that was made for this place: after some of the ends, authorised by the state after these.

        So it is new, nothing can refer to it, its auth events are those of the state `before` it, and one check says what the
        checks of `add` would say. It is sent to all servers in the room.
        """
        refusal = await self._refusal_by_state(event, before)
        if refusal is None and before != self.current_state:
            refusal = await self._refusal_by_state(event, self.current_state)
        if refusal:
            return Outcome(event, Verdict.REJECTED, refusal)
        await self._place(event, Verdict.ACCEPTED, before, await self._state_after(event, before), None)
        self._relayed[event.event_id] = frozenset()
        return Outcome(event, Verdict.ACCEPTED)

    async def refusal(self, event: Event) -> Refusal | None:
        """The rule that refuses an event that would be added now, without adding it."""
        return await self._refusal_by_state(event, self.current_state)

    def forget_ends(self) -> None:
        """Start the graph anew from the next event: after a join, when what we knew of the room is out of date."""
        self._ends.clear()

    async def close(self) -> Committed:
        """Write it all. Raises RoomMoved when the unit of work has to be repeated."""
        tx, room = self._tx, self.room
        if not self._added:
            return Committed(await positions.current(tx))
        self.room = await rooms.advance(tx, room, self.current_state)
        first = await positions.take(tx, len(self._added))
        last = first + len(self._added) - 1
        placed = [
            replace(new, position=position) for position, new in enumerate(self._added.values(), start=first)
        ]
        stored = await event_store.place(tx, room.room_nid, placed)
        await rooms.change_forward_extremities(
            tx,
            room.room_nid,
            add=[event_id for event_id in self._ends if event_id not in self._ends_before],
            remove=[event_id for event_id in self._ends_before if event_id not in self._ends],
        )
        await rooms.change_backward_extremities(
            tx, room.room_nid, add=self._gaps_opened, remove=self._gaps_closed
        )
        users, moved = await self._move_state(room.current_state, last)
        hidden = await apply_redactions(tx, self._states, placed, may_be_waited_for=self._received)
        destinations, expels = await deliver(
            tx, self._server_name, await self._deliveries(last, stored, moved)
        )
        shown = _shown(stored, hidden)
        arrival = Arrival(self.room, room.current_state, self.current_state, shown, moved.newcomers)
        this = frozenset({room.room_id})
        many_ends = this if expels or len(self._ends) > MANY_ENDS else frozenset()
        return Committed(last, this, users, destinations, (arrival,), many_ends=many_ends)

    async def resolved_ends(self, chosen: Collection[str]) -> Digest:
        """The state after some of the ends: that before an event that is built on them."""
        if len(chosen) == len(self._ends):
            return self.current_state
        return await self._resolved([self._ends[event_id].state_after for event_id in chosen])

    async def _load(self, event_ids: Iterable[str]) -> None:
        """Read those of the events that are neither new nor read yet, with one query."""
        wanted = [each for each in event_ids if each not in self._read and each not in self._added]
        if wanted:
            self._read.update(dict.fromkeys(wanted))
            self._read.update(await stored_events.get_many(self._tx, wanted))

    def _known(self, event_id: str) -> StoredEvent | NewEvent | None:
        """An event that is new in this unit of work or was read."""
        return self._added.get(event_id) or self._read.get(event_id)

    def _has_place(self, event_id: str) -> bool:
        """Whether the event's place in the graph is known."""
        known = self._read.get(event_id)
        return event_id in self._added or (known is not None and not known.is_outlier)

    async def _state_before(self, event: Event) -> Digest:
        """The state before an event: the state after its prev events, resolved."""
        if not event.prev_event_ids:
            return EMPTY
        roots: list[Digest] = []
        missing: list[str] = []
        for event_id in event.prev_event_ids:
            known = self._known(event_id)
            if known is None or known.state_after is None:
                missing.append(event_id)
            else:
                roots.append(known.state_after)
        if missing:
            raise MissingEvents(prev_events=missing)
        return await self._resolved(roots)

    async def _state_after(self, event: Event, before: Digest) -> Digest:
        if not event.is_state:
            return before
        return await self._states.changed(self._tx, before, {event.key: event.event_id})

    def _refusal_by_auth_events(self, event: Event) -> Refusal | None:
        """Whether the auth events that the event itself names, which have been read, allow it."""
        found = {event_id: self._known(event_id) for event_id in event.auth_event_ids_with_create}
        missing = [event_id for event_id, known in found.items() if known is None]
        if missing:
            raise MissingEvents(auth_events=missing)
        auth_events = {event_id: known.event for event_id, known in found.items() if known}
        rejected = {
            event_id for event_id, known in found.items() if known and known.status is EventStatus.REJECTED
        }
        refusal = check_auth_events(event, auth_events, rejected)
        if refusal:
            return refusal
        return authorise(event, {auth.key: auth for auth in auth_events.values() if auth.is_state})

    async def _refusal_by_state(self, event: Event, root: Digest) -> Refusal | None:
        """Whether a state of the room allows the event."""
        return authorise(event, await self.auth_state(event, root))

    async def _refusal_by_current_state(
        self, event: Event, before: Digest, *, after_gap: bool
    ) -> Refusal | None:
        """Whether the current state allows an event that the state before it allows."""
        if before == self.current_state:
            return None
        current = self.current_state
        if after_gap and self._ends:
            # What happened in the gap is news to us too, and may be what lets the sender speak.
            current = await self._resolved([*(end.state_after for end in self._ends.values()), before])
        return await self._refusal_by_state(event, current)

    async def auth_state(self, event: Event, root: Digest) -> dict[StateKey, Event]:
        """The entries of a state map that decide on an event."""
        keys = auth_keys(event.rules, event.type, event.sender, event.state_key, event.content)
        return await self.state_events(root, keys | {CREATE})

    async def state_events(self, root: Digest, keys: Collection[StateKey]) -> dict[StateKey, Event]:
        """The events of some entries of a state map, also where this unit of work has added them."""
        ids = await self._states.ids(self._tx, root, keys)
        await self._load(ids.values())
        found = {key: self._known(event_id) for key, event_id in ids.items()}
        room_id = self.room.room_id
        return {key: each.event for key, each in found.items() if each and each.event.room_id == room_id}

    async def _place(
        self, event: Event, verdict: Verdict, before: Digest, after: Digest, refusal: Refusal | None
    ) -> None:
        """Give an event its place: among the new events, in the gaps, and among the ends if it is accepted."""
        event_id = event.event_id
        reason = f"{refusal.rule}: {refusal.reason}" if refusal else None
        is_end = verdict is Verdict.ACCEPTED
        fills_gap = await self._fills_gap(event)
        # The gap before a refused event is of interest only if history leads there, now or later (`_leave_behind`).
        if fills_gap and not is_end:
            missing = [prev for prev in event.prev_event_ids if not self._has_place(prev)]
            self._gaps_opened.update(dict.fromkeys(missing, event.depth))
        status = event_store.accepted_as(event) if is_end else _REFUSED_AS[verdict]
        self._added[event_id] = NewEvent(event, None, status, reason, state_before=before, state_after=after)
        if not is_end:
            return
        await self._leave_behind(event)
        if not fills_gap and not await self._is_in_force(event):
            self._ends[event_id] = End(event, after)
        self.current_state = await self._resolved([end.state_after for end in self._ends.values()])

    async def _leave_behind(self, event: Event) -> None:
        """Take what an accepted event is built on out of the ends, also where only refused events lie between.

        A refused event is no end itself and takes none out, and what is missing before it is no gap, until an accepted event is
        built on it.
        """
        refused = (EventStatus.SOFT_FAILED, EventStatus.REJECTED)
        seen: set[str] = set()
        level = dict.fromkeys(event.prev_event_ids, event.depth)  # to the depth of what refers to it
        while level and len(seen) < MAX_REFUSED_BETWEEN:
            seen.update(level)
            rest = {each: depth for each, depth in level.items() if self._ends.pop(each, None) is None}
            await self._load(rest)
            level = {}
            for event_id, depth in rest.items():
                known = self._known(event_id)
                if known is None or not self._has_place(event_id):
                    self._gaps_opened[event_id] = depth
                elif known.status in refused:
                    below = set(known.event.prev_event_ids) - seen
                    level.update(dict.fromkeys(below, known.event.depth))

    async def _fills_gap(self, event: Event) -> bool:
        """Whether events that we have refer to this one."""
        event_id = event.event_id
        if event_id not in self._received:
            return False
        if self._gaps_opened.pop(event_id, None) is not None:
            return True
        if await rooms.is_backward_extremity(self._tx, self.room.room_nid, event_id):
            self._gaps_closed.add(event_id)
            return True
        return False

    async def _is_in_force(self, event: Event) -> bool:
        """Whether the current state holds an event that comes only now: then it lies before the ends of the graph.

        So it is when the state was given to us by another server.
        """
        if not event.is_state or event.event_id not in self._received or not self._ends:
            return False
        ids = await self._states.ids(self._tx, self.current_state, [event.key])
        return ids.get(event.key) == event.event_id

    async def _resolved(self, roots: Sequence[Digest]) -> Digest:
        return await self._states.resolved(self._tx, self.room.rules, roots, self._added)

    async def _move_state(self, old: Digest, position: int) -> tuple[frozenset[str], MembersMoved]:
        """Bring all that follows from the current state up to date.

        Returns our users whose membership changed, and who came into the room and went out of it.
        """
        if old == self.current_state:
            return frozenset(), NOBODY_MOVED
        await rooms.record_state(self._tx, self.room.room_nid, position, self.current_state)
        differing = await self._states.changes(self._tx, old, self.current_state)
        members = {key[1]: new for key, (_, new) in differing.items() if key[0] == "m.room.member"}
        ours = frozenset(each for each in members if each.partition(":")[2] == self._server_name)
        await mark_changes(self._tx, self.room.room_nid, differing.keys(), has_ours=bool(ours))
        if not members:
            return frozenset(), NOBODY_MOVED
        said: dict[str, tuple[str | None, str]] = {}
        for batch in stored_events.in_batches(event_id for event_id in members.values() if event_id):
            # Read for this alone, and not kept: after a join there may be very many.
            read = await stored_events.get_many(self._tx, [each for each in batch if not self._known(each)])
            for event_id in batch:
                if known := self._known(event_id) or read.get(event_id):
                    said[event_id] = (known.event.membership, known.event.sender)
        changes = []
        for user_id, new in members.items():
            membership, sender = said.get(new or "", (None, ""))
            changes.append(memberships.Change(user_id, membership, new or "", sender))
        return ours, await memberships.apply(self._tx, self.room.room_nid, changes, position)

    async def _deliveries(
        self, position: int, new: Mapping[str, StoredEvent], moved: MembersMoved
    ) -> Deliveries:
        """What was done, for those who send it to others."""
        old = {event_id: stored for event_id in self._ends if (stored := self._read.get(event_id))}
        nids = {event_id: stored.nid for event_id, stored in {**old, **new}.items()}
        ends = {event_id: end.event for event_id, end in self._ends.items()}
        asked = self._added if moved.gone else self._relayed
        told = {event_id: await self._told_besides(self._added[event_id]) for event_id in asked}
        return Deliveries(self.room.room_nid, position, self._added, nids, self._relayed, ends, moved, told)

    async def _told_besides(self, new: NewEvent) -> frozenset[str]:
        """The server of a user whose invite, knock or membership an event ends: it need not be in the room to be told."""
        event = new.event
        if event.membership not in ("leave", "ban") or event.state_key is None or new.state_before is None:
            return frozenset()
        before = (await self.state_events(new.state_before, [event.key])).get(event.key)
        if before is None or before.membership not in ("join", "invite", "knock"):
            return frozenset()
        server = event.state_key.partition(":")[2]
        return frozenset({server}) if is_valid_server_name(server) else frozenset()


def _shown(new: Mapping[str, StoredEvent], hidden: Collection[str]) -> tuple[StoredEvent, ...]:
    """Those of the new events that clients are shown as they came."""
    return tuple(
        stored
        for event_id, stored in new.items()
        if event_id not in hidden and stored.status is EventStatus.ACCEPTED
    )
