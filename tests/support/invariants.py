"""What must hold in the database at every moment, whatever clients and servers send and whenever the process is killed.

    assert await violations(database) == []

Everything is read, so this is for the databases of tests. Nothing is written.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping

from homeserver.core.events import StateKey, compute_event_id
from homeserver.core.identifiers import domain_of
from homeserver.core.room_versions import EventIDFormat
from homeserver.core.state_map import EMPTY, Digest
from homeserver.core.state_resolution import resolve
from homeserver.storage import events, positions, rooms, state
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus, StoredEvent
from homeserver.storage.rooms import Room

IN_GRAPH = (EventStatus.ACCEPTED, EventStatus.WITHHELD)

# Rows that refer to rows of another table: what is found is wrong.
DANGLING = {
    "an event of no room": "SELECT event_id FROM events WHERE room_nid NOT IN (SELECT room_nid FROM rooms)",
    "a position that two events have": "SELECT position FROM events WHERE position IS NOT NULL"
    " GROUP BY position HAVING count(*) > 1",
    "an event in the stream without state": "SELECT event_id FROM events WHERE position IS NOT NULL"
    " AND (state_before IS NULL OR state_after IS NULL)",
    "a refusal without its reason": "SELECT event_id FROM events WHERE status IN (1, 2) AND reason IS NULL",
    "something to send that there is not": "SELECT event_nid FROM outbox WHERE event_nid NOT IN"
    " (SELECT event_nid FROM events)",
    "a sent event that there is not": "SELECT event_id FROM sent_events WHERE event_id NOT IN"
    " (SELECT event_id FROM events)",
    "a membership in no room": "SELECT user_id FROM memberships WHERE room_nid NOT IN (SELECT room_nid FROM rooms)",
    "a receipt in no room": "SELECT user_id FROM receipts WHERE room_nid NOT IN (SELECT room_nid FROM rooms)",
    "a device of nobody": "SELECT device_id FROM devices WHERE user_id NOT IN (SELECT user_id FROM users)",
    "an access token of nobody": "SELECT token_id FROM access_tokens WHERE user_id NOT IN"
    " (SELECT user_id FROM users)",
    "an access token of no device": "SELECT token_id FROM access_tokens t WHERE device_id IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM devices d WHERE d.user_id = t.user_id AND d.device_id = t.device_id)",
    "a filter of nobody": "SELECT filter_id FROM filters WHERE user_id NOT IN (SELECT user_id FROM users)",
    "a profile of nobody": "SELECT user_id FROM profile_fields WHERE user_id NOT IN (SELECT user_id FROM users)",
    "account data of nobody": "SELECT type FROM account_data WHERE user_id NOT IN (SELECT user_id FROM users)",
    "push rules of nobody": "SELECT user_id FROM push_rules WHERE user_id NOT IN (SELECT user_id FROM users)",
    "a relation of an event that is not shown, or was redacted": "SELECT event_nid FROM event_relations WHERE event_nid"
    " NOT IN (SELECT event_nid FROM events WHERE status = 0 AND position IS NOT NULL AND redacted_by IS NULL)",
    "a server notices room that there is not": "SELECT room_id FROM server_notice_rooms WHERE room_id NOT IN"
    " (SELECT room_id FROM rooms)",
    "a word of nobody": "SELECT user_id FROM user_directory_words WHERE user_id NOT IN (SELECT user_id FROM user_directory)",
    "a local alias of no room": "SELECT alias FROM room_aliases WHERE room_id NOT IN (SELECT room_id FROM rooms)",
}


async def violations(database: Database) -> list[str]:
    """What does not hold, each in a sentence; empty for a sound database."""

    async def work(tx: Transaction) -> list[str]:
        return [found async for found in _violations(tx)]

    return await database.read(work)


async def row_counts(database: Database) -> dict[str, int]:
    """The number of rows of every table (SQLite alone)."""

    async def work(tx: Transaction) -> dict[str, int]:
        # The indexes of search and of the user directory follow by themselves, and so do the guests' access to rooms and what is
        # noted of other servers.
        tables = await tx.fetch(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'event_search%'"
            " AND name NOT LIKE 'user_directory%' AND name NOT IN ('guest_rooms_changed', 'inbound_errors', 'destination_history')"
            " ORDER BY name"
        )
        return {row[0]: await tx.fetch_value(f"SELECT count(*) FROM {row[0]}") for row in tables}

    return await database.read(work)


async def _violations(tx: Transaction) -> AsyncIterator[str]:
    for what, query in DANGLING.items():
        for row in await tx.fetch(query):
            yield f"{what}: {row[0]}"
    for table in ("events", "account_data", "push_rules"):
        newest = await tx.fetch_value(f"SELECT max(position) FROM {table}") or 0
        if newest > await positions.current(tx):
            yield f"{table} have position {newest}, and the stream stands at {await positions.current(tx)}"
    for row in await tx.fetch("SELECT room_id FROM rooms ORDER BY room_nid"):
        room = await rooms.get(tx, row[0])
        assert room is not None
        async for found in _RoomCheck(tx, room).run():
            yield f"{room.room_id} (version {room.version}): {found}"


class _RoomCheck:
    """One room: its events, the ends of its graph, its state, its members."""

    def __init__(self, tx: Transaction, room: Room) -> None:
        self._tx = tx
        self._room = room
        self._cache = state.NodeCache()
        self._events: dict[str, StoredEvent] = {}
        self._maps: dict[Digest, Mapping[StateKey, str]] = {EMPTY: {}}

    async def run(self) -> AsyncIterator[str]:
        ids = await self._tx.fetch("SELECT event_id FROM events WHERE room_nid = $1", self._room.room_nid)
        self._events = await events.get_many(self._tx, [row[0] for row in ids])
        if len(self._events) < len(ids):
            yield f"only {len(self._events)} of {len(ids)} events can be read"
            return
        for check in (self._each_event, self._state_maps, self._ends, self._current_state, self._members):
            async for found in check():
                yield found

    async def _each_event(self) -> AsyncIterator[str]:
        gaps = set(await rooms.backward_extremities(self._tx, self._room.room_nid))
        for event_id, stored in self._events.items():
            event = stored.event
            if event.room_id != self._room.room_id:
                yield f"{event_id} is of {event.room_id}"
            hashed = event.rules.event_id_format is not EventIDFormat.SERVER_CHOSEN
            if hashed and compute_event_id(event.pdu, event.rules) != event_id:
                yield f"{event_id} is stored with the content of another event"
            if stored.is_outlier or stored.status not in IN_GRAPH:
                continue
            if event_id in gaps:
                yield f"{event_id} is here and counts as missing"
            for prev in event.prev_event_ids:
                known = self._events.get(prev)
                if (known is None or known.is_outlier) and prev not in gaps:
                    yield f"{event_id} follows {prev}, which is neither here nor counts as missing"
            for auth in event.auth_event_ids_with_create:
                if auth not in self._events:
                    yield f"{event_id} is authorised by {auth}, which is not here"
                elif self._events[auth].status is EventStatus.REJECTED:
                    yield f"{event_id} is authorised by {auth}, which was rejected"

    async def _state_maps(self) -> AsyncIterator[str]:
        """Every version of the state can be read, and is that of before with the event's own change."""
        for event_id, stored in self._events.items():
            if stored.state_before is None or stored.state_after is None:
                continue
            before, after = await self._map(stored.state_before), await self._map(stored.state_after)
            changes = stored.event.is_state and stored.status is not EventStatus.REJECTED
            if after != (dict(before) | {stored.event.key: event_id} if changes else before):
                yield f"the state after {event_id} is not the state before it with its own change"
        for root, entries in self._maps.items():
            for key, event_id in entries.items():
                entry = self._events.get(event_id)
                if entry is None:
                    yield f"the state {root.hex()} has {event_id}, which is not here"
                elif not entry.event.is_state or entry.event.key != key:
                    yield f"the state {root.hex()} has {event_id} as {key}"

    async def _ends(self) -> AsyncIterator[str]:
        ends = await rooms.forward_extremities(self._tx, self._room.room_nid)
        followed = {
            prev
            for stored in self._events.values()
            if not stored.is_outlier and stored.status in IN_GRAPH
            for prev in stored.event.prev_event_ids
        }
        if not ends and self._events:
            yield "there are events and no forward extremity"
        for event_id in ends:
            end = self._events.get(event_id)
            if end is None or end.is_outlier or end.status not in IN_GRAPH:
                yield f"the forward extremity {event_id} is no accepted event in the graph"
            elif event_id in followed:
                yield f"the forward extremity {event_id} has an accepted event after it"

    async def _current_state(self) -> AsyncIterator[str]:
        ends = await rooms.forward_extremities(self._tx, self._room.room_nid)
        roots = {
            stored.state_after
            for event_id in ends
            if (stored := self._events.get(event_id)) and stored.state_after is not None
        }
        current = await self._map(self._room.current_state)
        if current != await self._resolved(roots):
            yield "the current state is not what the state after the forward extremities resolves to"
        for key, event_id in current.items():
            entry = self._events.get(event_id)
            if entry is not None and entry.status is EventStatus.REJECTED:
                yield f"the current state has a rejected event: {key} is {event_id}"
        last = await self._tx.fetch_value(
            "SELECT state_root FROM room_states WHERE room_nid = $1 ORDER BY position DESC LIMIT 1",
            self._room.room_nid,
        )
        if (EMPTY if last is None else bytes(last)) != self._room.current_state:
            yield "the newest entry of room_states is not the current state"

    async def _members(self) -> AsyncIterator[str]:
        rows = await self._tx.fetch(
            "SELECT user_id, membership, event_id, sender FROM memberships WHERE room_nid = $1",
            self._room.room_nid,
        )
        listed = {row[0]: (row[1], row[2], row[3]) for row in rows}
        expected = {
            key[1]: (stored.event.membership, event_id, stored.event.sender)
            for key, event_id in (await self._map(self._room.current_state)).items()
            if key[0] == "m.room.member" and (stored := self._events.get(event_id))
        }
        for user_id in sorted({*listed, *expected}):
            if listed.get(user_id) != expected.get(user_id):
                yield f"{user_id} is listed as {listed.get(user_id)}, the state says {expected.get(user_id)}"
        counted = await self._tx.fetch(
            "SELECT server, joined FROM room_servers WHERE room_nid = $1 AND joined <> 0", self._room.room_nid
        )
        servers = Counter(domain_of(user_id) for user_id, found in expected.items() if found[0] == "join")
        if dict(servers) != {row[0]: row[1] for row in counted}:
            yield f"the servers are counted as {[tuple(row) for row in counted]}, and are {dict(servers)}"

    async def _map(self, root: Digest) -> Mapping[StateKey, str]:
        if root not in self._maps:
            self._maps[root] = await state.entries(self._tx, self._cache, root)
        return self._maps[root]

    async def _resolved(self, roots: set[Digest]) -> Mapping[StateKey, str]:
        if len(roots) == 1:
            return await self._map(next(iter(roots)))
        rejected = {each for each, stored in self._events.items() if stored.status is EventStatus.REJECTED}
        state_sets = [await self._map(root) for root in sorted(roots)]
        steps = resolve(self._room.rules, state_sets, rejected=rejected)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(
                    {each: self._events[each].event for each in wanted if each in self._events}
                )
        except StopIteration as done:
            result: Mapping[StateKey, str] = done.value
            return result
