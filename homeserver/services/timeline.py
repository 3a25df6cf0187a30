"""Local events: built on the ends of the room's graph, signed, judged by the auth rules, stored, and sent on."""

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core import errors
from homeserver.core.auth_rules import auth_keys
from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event, EventReference, StateKey, make_event, reference_to
from homeserver.core.power_levels import CREATE
from homeserver.core.room_versions import EventIDFormat, RoomRules, rules_for
from homeserver.core.state_map import EMPTY, Digest
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import GraphWriter, Outcome, Verdict
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Transaction, is_storable
from homeserver.storage.rooms import Room

MAX_PREV_EVENTS = 20
"""How many ends of the graph a new event joins: as many as an event may have prev_events."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event of one of our users before it has its place in a room."""

    sender: str
    type: str
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None


@dataclass(frozen=True, slots=True)
class ClientTransaction:
    """What makes a client's request the same as an earlier one.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
    """

    user_id: str
    device_id: str
    endpoint: str
    transaction_id: str


Check = Callable[[Transaction, Room], Awaitable[None]]
"""Raises MatrixError when something may not be done in a room."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Where in the graph a draft would stand: what make_event and a make_join template need, and the state before it."""

    prev_events: Sequence[EventReference]
    auth_events: Sequence[EventReference]
    depth: int
    state_before: Digest = EMPTY


class Timeline:
    """Sends the events of our users."""

    def __init__(self, writes: RoomWrites, states: RoomStates, identity: Identity, clock: Clock) -> None:
        """All writes go through `writes`; events are signed with the key of `identity`."""
        self._writes = writes
        self._states = states
        self._identity = identity
        self._clock = clock

    async def send(
        self,
        room_id: str,
        draft: Draft,
        *,
        transaction: ClientTransaction | None = None,
        check: Check | None = None,
    ) -> str:
        """Send an event into a room and return its ID.

        The same transaction again returns the first event's ID, and so does a state event that changes nothing.
        check: what else is asked of it, in the same unit of work; not of what was sent already.
        Raises MatrixError: M_FORBIDDEN with the rule that refuses it, M_TOO_LARGE, M_BAD_JSON, and what `check` raises.
        """

        async def work(tx: Transaction) -> tuple[str, Committed | None]:
            if transaction and (sent := await self._sent(tx, transaction)):
                return sent, None
            writer = await self._open(tx, room_id)
            if check is not None:
                await check(tx, writer.room)
            event_id = await self._unchanged_state(writer, draft)
            if event_id is None:
                event_id = (await self._add(writer, draft)).event_id
            if transaction:
                await self._record(tx, transaction, event_id)
            return event_id, await writer.close()

        return await self._writes.run(room_id, work)

    async def send_many(self, room_id: str, drafts: Sequence[Draft]) -> list[str]:
        """Send several events into a room in their order, all or none; returns their IDs."""

        async def work(tx: Transaction) -> tuple[list[str], Committed | None]:
            writer = await self._open(tx, room_id)
            event_ids = [(await self._add(writer, draft)).event_id for draft in drafts]
            return event_ids, await writer.close()

        return await self._writes.run(room_id, work)

    async def create_room(
        self,
        version: str,
        creator: str,
        create_content: Mapping[str, Any],
        drafts: Sequence[Draft],
        *,
        beside: Callable[[Transaction, Room], Awaitable[Committed | None]] | None = None,
    ) -> str:
        """Create a room of a version with its first events, all or none; returns the room ID.

        create_content: that of m.room.create, without what follows from the version and the creator.
        beside: what else is stored in the same unit of work, given the new room (an alias, its place in the directory, the end of
        the room that it replaces).
        Raises MatrixError as `send` does, M_FORBIDDEN with the rule that refuses one of the events.
        """
        rules = rules_for(version)
        content = {"room_version": version, **create_content}
        if not rules.implicit_room_creator:
            content["creator"] = creator
        room_id = (
            None
            if rules.room_id_is_create_hash
            else f"!{secrets.token_urlsafe(16)}:{self._identity.server_name}"
        )
        first = Draft(creator, "m.room.create", content, "")
        create_event = self._make(rules, room_id, first, Fields((), (), 1))

        async def work(tx: Transaction) -> tuple[str, Committed | None]:
            event = create_event
            # A room ID that is the create event's hash is taken when the same user has just created another such room.
            while await rooms.get(tx, event.room_id):
                event = self._make(rules, room_id, first, Fields((), (), 1), event.origin_server_ts + 1)
            writer = await GraphWriter.create(
                tx, self._states, self._identity.server_name, event.room_id, version
            )
            _accepted(await writer.append(event, EMPTY))
            for draft in drafts:
                await self._add(writer, draft)
            committed = await writer.close()
            if beside is not None and (more := await beside(tx, writer.room)) is not None:
                committed = committed.together_with(more)
            return event.room_id, committed

        return await self._writes.run(create_event.room_id, work)

    async def add_within(
        self, tx: Transaction, room_id: str, drafts: Sequence[Draft], *, where_allowed: Sequence[Draft] = ()
    ) -> Committed:
        """Send events in a unit of work of the caller's, who tells of what was committed. Those `where_allowed` are left out where
        the auth rules refuse them. Raises MatrixError as `send` does, and RoomMoved.
        """
        writer = await self._open(tx, room_id)
        for draft in drafts:
            await self._add(writer, draft)
        for draft in where_allowed:
            fields = await self._fields(writer, draft)
            await writer.append(self._make(writer.room.rules, room_id, draft, fields), fields.state_before)
        return await writer.close()

    async def prepare(self, room_id: str, draft: Draft) -> Event:
        """The event that `send` would send now, signed but not stored: for what another server has to sign as well (invites).

        Raises M_FORBIDDEN when the auth rules refuse it.
        """

        async def work(tx: Transaction) -> tuple[Event, None]:
            writer = await self._open(tx, room_id)
            fields = await self._fields(writer, draft)
            event = self._make(writer.room.rules, room_id, draft, fields)
            refusal = await writer.refusal(event)
            if refusal:
                raise errors.forbidden(refusal.reason)
            return event, None

        return await self._writes.run(room_id, work)  # not a read: see `template`

    async def template(self, tx: Transaction, room: Room, draft: Draft) -> dict[str, Any]:
        """The unsigned event that another server asks for with make_join, make_leave or make_knock.

        It has no hashes and no signatures; whoever asked completes and signs it. Raises MatrixError when the auth rules refuse it.
        `tx` must be able to write: where the room has more ends than an event can follow, the state after some of them may be new.
        """
        writer = await GraphWriter.open(tx, self._states, self._identity.server_name, room)
        fields = await self._fields(writer, draft)
        event = self._make(room.rules, room.room_id, draft, fields)
        refusal = await writer.refusal(event)
        if refusal:
            raise errors.forbidden(refusal.reason)
        left_out = {"hashes", "signatures", "event_id"}
        return {name: value for name, value in event.pdu.items() if name not in left_out}

    async def accept(
        self, room_id: str, event: Event, *, relay_except: Collection[str] | None
    ) -> tuple[Outcome, Room, Committed | None]:
        """Make another server's event, already verified, part of a room's graph: the answering side of send_join and the like.

        relay_except: the servers that need not be sent the event; None when we do not send it on at all.
        Raises room_graph.MissingEvents when events that it refers to are not here.
        """

        async def work(tx: Transaction) -> tuple[tuple[Outcome, Room, Committed | None], Committed | None]:
            writer = await self._open(tx, room_id)
            before = writer.room
            outcome = await writer.add(event, relay_except=relay_except)
            committed = await writer.close()
            return (outcome, before, committed), committed

        return await self._writes.run(room_id, work)

    async def _open(self, tx: Transaction, room_id: str) -> GraphWriter:
        room = await rooms.get(tx, room_id)
        if room is None:
            raise errors.forbidden(f"You are not in the room {room_id}, or it does not exist")
        return await GraphWriter.open(tx, self._states, self._identity.server_name, room)

    async def _add(self, writer: GraphWriter, draft: Draft) -> Event:
        fields = await self._fields(writer, draft)
        event = self._make(writer.room.rules, writer.room.room_id, draft, fields)
        return _accepted(await writer.append(event, fields.state_before))

    async def _fields(self, writer: GraphWriter, draft: Draft) -> Fields:
        """Where the draft stands when it is added now: after the newest ends of the graph, allowed by the state after these."""
        ends = sorted(writer.ends.values(), key=lambda end: (-end.event.depth, end.event.event_id))
        ends = ends[:MAX_PREV_EVENTS]
        before = await writer.resolved_ends([end.event.event_id for end in ends])
        keys = auth_keys(writer.room.rules, draft.type, draft.sender, draft.state_key, draft.content)
        auth = await writer.state_events(
            before, keys | {CREATE}
        )  # all that the rules will ask for, with one query
        return Fields(
            [reference_to(end.event) for end in ends],
            [reference_to(event) for key, event in auth.items() if key in keys],
            max((end.event.depth for end in ends), default=0) + 1,
            before,
        )

    def _make(
        self, rules: RoomRules, room_id: str | None, draft: Draft, fields: Fields, now: int | None = None
    ) -> Event:
        server_name = self._identity.server_name
        chosen = rules.event_id_format is EventIDFormat.SERVER_CHOSEN
        try:
            return make_event(
                rules,
                server_name=server_name,
                signing_key=self._identity.signing_key,
                room_id=room_id,
                type=draft.type,
                sender=draft.sender,
                content=draft.content,
                state_key=draft.state_key,
                prev_events=fields.prev_events,
                auth_events=fields.auth_events,
                depth=fields.depth,
                origin_server_ts=self._clock() if now is None else now,
                redacts=draft.redacts,
                event_id=f"${secrets.token_urlsafe(18)}:{server_name}" if chosen else None,
            )
        except InvalidEvent as invalid:
            raise errors.from_invalid_event(invalid) from invalid

    async def _unchanged_state(self, writer: GraphWriter, draft: Draft) -> str | None:
        """The event that has already set this state, by the same sender with the same content."""
        if draft.state_key is None or not (is_storable(draft.type) and is_storable(draft.state_key)):
            return None
        key: StateKey = (draft.type, draft.state_key)
        current = (await writer.state_events(writer.current_state, [key])).get(key)
        if current is None or current.sender != draft.sender:
            return None
        try:
            # Compared as JSON: in Python True is 1.
            is_same = encode_canonical(current.content) == encode_canonical(draft.content)
        except CanonicalJSONError:
            return None  # what is wrong with it is told when the event is made
        return current.event_id if is_same else None

    async def _sent(self, tx: Transaction, transaction: ClientTransaction) -> str | None:
        return await stored_events.sent_event(
            tx, transaction.user_id, transaction.device_id, transaction.endpoint, transaction.transaction_id
        )

    async def _record(self, tx: Transaction, transaction: ClientTransaction, event_id: str) -> None:
        await stored_events.record_sent(
            tx,
            transaction.user_id,
            transaction.device_id,
            transaction.endpoint,
            transaction.transaction_id,
            event_id,
            self._clock(),
        )


def _accepted(outcome: Outcome) -> Event:
    if outcome.verdict is not Verdict.ACCEPTED:
        reason = outcome.refusal.reason if outcome.refusal else f"the event was {outcome.verdict.value}"
        raise errors.forbidden(reason)
    return outcome.event
