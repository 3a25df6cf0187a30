"""The only writer of room graphs: every event, ours or another server's, becomes part of its room here.

A `GraphWriter` is one unit of work on one room. It is opened on the room as it stands, is given events one after the other
(each after those it refers to), decides on each, and on `close` writes them all at once: the events, the new ends of the graph,
the current state, the members, and what is to be sent to other servers. Should another writer have moved the room in between,
`close` raises RoomMoved and the whole unit is repeated.

Everything here runs inside a unit of work: it awaits nothing but `tx`, so that SQLite needs one hop to its thread.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from homeserver.core.auth_rules import Refusal, auth_keys, authorise, check_auth_events
from homeserver.core.events import Event, StateKey, redact
from homeserver.core.identifiers import domain_of
from homeserver.core.state_map import EMPTY, Digest
from homeserver.services.notifier import Committed
from homeserver.services.redactions import redaction_applies
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, outbox, positions, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent
from homeserver.storage.rooms import Room


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


_STATUS = {
    Verdict.ACCEPTED: EventStatus.ACCEPTED,
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
        self._gaps_opened: dict[str, int] = {}
        self._gaps_closed: set[str] = set()
        self._added: dict[str, NewEvent] = {}
        self._ends_before: frozenset[str] = frozenset()
        self._relayed: dict[str, frozenset[str]] = {}

    @classmethod
    async def open(cls, tx: Transaction, states: RoomStates, server_name: str, room: Room) -> "GraphWriter":
        """Begin to write to a room that exists."""
        writer = cls(tx, states, server_name, room)
        ids = await rooms.forward_extremities(tx, room.room_nid)
        writer._ends_before = frozenset(ids)
        for event_id, stored in (await stored_events.get_many(tx, ids)).items():
            if stored.state_after is not None:
                writer._ends[event_id] = End(stored.event, stored.state_after)
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

        Raises MissingEvents, before anything is written, when events that it refers to are not here.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
        """
        known = (await stored_events.known(self._tx, [event.event_id])).get(event.event_id)
        if event.event_id in self._added or (known and not known.is_outlier):
            status = known.status if known else self._added[event.event_id].status
            return Outcome(event, Verdict.DUPLICATE, stored_as=status)
        before = await self._state_before(event) if state_before is None else state_before
        refusal = await self._refusal_by_auth_events(event) or await self._refusal_by_state(event, before)
        if refusal:
            await self._place(event, Verdict.REJECTED, before, before, refusal)
            return Outcome(event, Verdict.REJECTED, refusal)
        after = before
        if event.is_state:
            after = await self._states.changed(self._tx, before, {event.key: event.event_id})
        if not local and before != self.current_state:
            current = self.current_state
            if state_before is not None and self._ends:
                # After a gap: what happened in it is news to us too, and may be what lets the sender speak.
                ends = [end.state_after for end in self._ends.values()]
                current = await self._resolved([*ends, before])
            refusal = await self._refusal_by_state(event, current)
            if refusal:
                await self._place(event, Verdict.SOFT_FAILED, before, after, refusal)
                return Outcome(event, Verdict.SOFT_FAILED, refusal)
        await self._place(event, Verdict.ACCEPTED, before, after, None)
        await self._grow(event, after)
        if relay_except is not None:
            self._relayed[event.event_id] = frozenset(relay_except)
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
        servers = set(await memberships.joined_servers(tx, room.room_nid)) if self._relayed else set()
        self.room = await rooms.advance(tx, room, self.current_state)
        first = await positions.take(tx, len(self._added))
        last = first + len(self._added) - 1
        placed = [
            replace(new, position=position) for position, new in enumerate(self._added.values(), start=first)
        ]
        nids = await stored_events.place_many(tx, room.room_nid, placed)
        await rooms.change_forward_extremities(
            tx,
            room.room_nid,
            add=[event_id for event_id in self._ends if event_id not in self._ends_before],
            remove=[event_id for event_id in self._ends_before if event_id not in self._ends],
        )
        await rooms.change_backward_extremities(
            tx, room.room_nid, add=self._gaps_opened, remove=self._gaps_closed
        )
        users = await self._move_state(room.current_state, last)
        await self._redact()
        destinations = await self._queue(nids, servers)
        return Committed(last, frozenset({room.room_id}), users, destinations)

    async def _state_before(self, event: Event) -> Digest:
        """The state before an event: the state after its prev events, resolved."""
        if not event.prev_event_ids:
            return EMPTY
        roots: dict[str, Digest] = {}
        for event_id in event.prev_event_ids:
            if event_id in self._ends:
                roots[event_id] = self._ends[event_id].state_after
            elif event_id in self._added:
                roots[event_id] = self._added[event_id].state_after or EMPTY
        others = [event_id for event_id in event.prev_event_ids if event_id not in roots]
        if others:
            for event_id, stored in (await stored_events.get_many(self._tx, others)).items():
                if stored.state_after is not None and stored.room_nid == self.room.room_nid:
                    roots[event_id] = stored.state_after
        missing = set(event.prev_event_ids) - set(roots)
        if missing:
            raise MissingEvents(prev_events=missing)
        return await self._resolved(list(roots.values()))

    async def _events(self, event_ids: Collection[str]) -> dict[str, tuple[Event, EventStatus]]:
        """Events of the database and of this unit of work."""
        found = {
            event_id: (new.event, new.status) for event_id in event_ids if (new := self._added.get(event_id))
        }
        rest = [event_id for event_id in event_ids if event_id not in found]
        if rest:
            for event_id, stored in (await stored_events.get_many(self._tx, rest)).items():
                found[event_id] = (stored.event, stored.status)
        return found

    async def _refusal_by_auth_events(self, event: Event) -> Refusal | None:
        """Whether the auth events that the event itself names allow it."""
        wanted = event.auth_event_ids_with_create
        found = await self._events(wanted)
        missing = set(wanted) - set(found)
        if missing:
            raise MissingEvents(auth_events=missing)
        rejected = {event_id for event_id, (_, status) in found.items() if status is EventStatus.REJECTED}
        auth_events = {event_id: auth_event for event_id, (auth_event, _) in found.items()}
        refusal = check_auth_events(event, auth_events, rejected)
        if refusal:
            return refusal
        return authorise(event, {auth.key: auth for auth in auth_events.values() if auth.is_state})

    async def _refusal_by_state(self, event: Event, root: Digest) -> Refusal | None:
        """Whether a state of the room allows the event."""
        return authorise(event, await self.auth_state(event, root))

    async def auth_state(self, event: Event, root: Digest) -> dict[StateKey, Event]:
        """The entries of a state map that decide on an event."""
        keys = auth_keys(event.rules, event.type, event.sender, event.state_key, event.content)
        return await self.state_events(root, {*keys, ("m.room.create", "")})

    async def state_events(self, root: Digest, keys: Collection[StateKey]) -> dict[StateKey, Event]:
        """The events of some entries of a state map, also where this unit of work has added them."""
        ids = await self._states.ids(self._tx, root, keys)
        found = await self._events(ids.values())
        return {key: found[event_id][0] for key, event_id in ids.items() if event_id in found}

    async def _place(
        self, event: Event, verdict: Verdict, before: Digest, after: Digest, refusal: Refusal | None
    ) -> None:
        reason = f"{refusal.rule}: {refusal.reason}" if refusal else None
        self._added[event.event_id] = NewEvent(
            event, None, _STATUS[verdict], reason, state_before=before, state_after=after
        )

    async def _grow(self, event: Event, after: Digest) -> None:
        """Make an accepted event an end of the graph, and see what the current state is now."""
        for event_id in event.prev_event_ids:
            self._ends.pop(event_id, None)
        unknown = [event_id for event_id in event.prev_event_ids if event_id not in self._added]
        if unknown:
            known = await stored_events.known(self._tx, unknown)
            for event_id in unknown:
                if event_id not in known or known[event_id].is_outlier:
                    self._gaps_opened[event_id] = event.depth
        if await rooms.is_backward_extremity(self._tx, self.room.room_nid, event.event_id):
            self._gaps_closed.add(event.event_id)
        else:
            self._ends[event.event_id] = End(event, after)
        self.current_state = await self._resolved([end.state_after for end in self._ends.values()])

    async def _resolved(self, roots: Sequence[Digest]) -> Digest:
        return await self._states.resolved(self._tx, self.room.rules, roots, self._added)

    async def _move_state(self, old: Digest, position: int) -> frozenset[str]:
        """Bring all that follows from the current state up to date; returns our users whose membership changed."""
        if old == self.current_state:
            return frozenset()
        await rooms.record_state(self._tx, self.room.room_nid, position, self.current_state)
        differing = await self._states.changes(self._tx, old, self.current_state)
        members = {key[1]: new for key, (_, new) in differing.items() if key[0] == "m.room.member"}
        if not members:
            return frozenset()
        found = await self._events([event_id for event_id in members.values() if event_id])
        changes = []
        for user_id, event_id in members.items():
            event = found[event_id][0] if event_id else None
            membership = event.membership if event else None
            sender = event.sender if event else ""
            changes.append(memberships.Change(user_id, membership, event_id or "", sender))
        await memberships.apply(self._tx, self.room.room_nid, changes, position)
        return frozenset(user_id for user_id in members if domain_of(user_id) == self._server_name)

    async def _redact(self) -> None:
        """Apply the redactions among the new events, and those that waited for one of them."""
        accepted = {
            event_id: new.event
            for event_id, new in self._added.items()
            if new.status is not EventStatus.REJECTED
        }
        waiting = await stored_events.take_pending_redactions(self._tx, list(accepted))
        pairs = [(target, redaction) for target, ids in waiting.items() for redaction in ids]
        for event_id, event in accepted.items():
            if event.type == "m.room.redaction" and event.redacts and self._is_accepted(event_id):
                pairs.append((event.redacts, event_id))
        if not pairs:
            return
        found = await stored_events.get_many(self._tx, {event_id for pair in pairs for event_id in pair})
        for target_id, redaction_id in pairs:
            target, redaction = found.get(target_id), found.get(redaction_id)
            if target is None:
                await stored_events.add_pending_redaction(self._tx, target_id, redaction_id)
            elif redaction is not None and await self._may_redact(redaction, target):
                await stored_events.set_redacted(self._tx, redact(target.event), redaction_id)

    def _is_accepted(self, event_id: str) -> bool:
        return self._added[event_id].status is EventStatus.ACCEPTED

    async def _may_redact(self, redaction: StoredEvent, target: StoredEvent) -> bool:
        if target.room_nid != redaction.room_nid or target.redacted_by or redaction.state_before is None:
            return False
        keys = [("m.room.power_levels", ""), ("m.room.create", "")]
        return redaction_applies(
            redaction.event, target.event, await self.state_events(redaction.state_before, keys)
        )

    async def _queue(self, nids: Mapping[str, int], servers_before: set[str]) -> frozenset[str]:
        """Put the events that we send to others into the outbox."""
        if not self._relayed:
            return frozenset()
        servers = servers_before | set(await memberships.joined_servers(self._tx, self.room.room_nid))
        servers.discard(self._server_name)
        queued: set[str] = set()
        for event_id, left_out in self._relayed.items():
            destinations = servers - left_out
            if destinations:
                await outbox.add(self._tx, destinations, nids[event_id])
                queued |= destinations
        return frozenset(queued)


async def import_outliers(
    tx: Transaction, room: Room, events: Sequence[Event], rejected: Mapping[str, str]
) -> None:
    """Store events whose place in the graph is not known: state and auth chains that another server gave us.

    rejected: the reasons for those that the auth rules refuse, by event ID.
    """
    await stored_events.insert_many(
        tx,
        room.room_nid,
        [
            NewEvent(
                event,
                status=EventStatus.REJECTED if event.event_id in rejected else EventStatus.ACCEPTED,
                reason=rejected.get(event.event_id),
            )
            for event in events
        ],
    )
