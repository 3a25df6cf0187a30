"""The state of rooms: looking things up in a state map, and resolving several of them into one.

Every function runs inside a unit of work: it awaits nothing but `tx`.
"""

from collections import OrderedDict
from collections.abc import Collection, Container, Mapping, Sequence

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomRules
from homeserver.core.state_map import EMPTY, Digest
from homeserver.core.state_resolution import SharedEntries, resolve_differing
from homeserver.storage import events as stored_events
from homeserver.storage import state
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent

RESOLUTIONS_KEPT = 1_000
NOTHING: Mapping[str, NewEvent] = {}


class RoomStates:
    """State maps by their root digests, with the cache of their nodes and of what they resolved to."""

    def __init__(self, cache: state.NodeCache) -> None:
        """`cache`: the nodes of state maps in memory."""
        self._cache = cache
        # What has to be changed in the least of some roots to get their resolution. Not the root of that: it is not stored when
        # the unit of work that made it is undone.
        self._resolved: OrderedDict[frozenset[Digest], Mapping[StateKey, str | None]] = OrderedDict()

    async def ids(self, tx: Transaction, root: Digest, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """The event IDs of some entries; entries that do not exist are left out."""
        return await state.lookup(tx, self._cache, root, keys)

    async def ids_of_type(self, tx: Transaction, root: Digest, event_type: str) -> dict[StateKey, str]:
        """The event IDs of all entries of one type; the others are read little, or not at all for m.room.member."""
        return await state.entries_of_type(tx, self._cache, root, event_type)

    async def all_ids(self, tx: Transaction, root: Digest) -> dict[StateKey, str]:
        """The event IDs of all entries."""
        return await state.entries(tx, self._cache, root)

    async def events(
        self, tx: Transaction, root: Digest, keys: Collection[StateKey]
    ) -> dict[StateKey, Event]:
        """The events of some entries, with one query for all of them."""
        ids = await self.ids(tx, root, keys)
        found = await stored_events.load_accepted(tx, ids.values())
        return {key: found[event_id] for key, event_id in ids.items() if event_id in found}

    async def event(
        self, tx: Transaction, root: Digest, event_type: str, state_key: str = ""
    ) -> Event | None:
        """The event of one entry."""
        return (await self.events(tx, root, [(event_type, state_key)])).get((event_type, state_key))

    async def all_events(self, tx: Transaction, root: Digest) -> dict[StateKey, Event]:
        """The events of all entries. As large as the room's state: for answers that show all of it."""
        ids = await self.all_ids(tx, root)
        found = await stored_events.load_accepted(tx, ids.values())
        return {key: found[event_id] for key, event_id in ids.items() if event_id in found}

    async def changes(
        self, tx: Transaction, old: Digest, new: Digest
    ) -> dict[StateKey, tuple[str | None, str | None]]:
        """The entries that differ, each with its old and its new event ID."""
        if old == new:
            return {}
        return await state.diff(tx, self._cache, old, new)

    async def changed(self, tx: Transaction, root: Digest, changes: Mapping[StateKey, str | None]) -> Digest:
        """Store the state map that results from `root` and some changes; returns its root."""
        return await state.update(tx, self._cache, root, changes)

    async def built(self, tx: Transaction, entries: Mapping[StateKey, str]) -> Digest:
        """Store a whole state map; returns its root."""
        return await state.build(tx, self._cache, entries)

    async def resolved(
        self,
        tx: Transaction,
        rules: RoomRules,
        roots: Sequence[Digest],
        unstored: Mapping[str, NewEvent] = NOTHING,
    ) -> Digest:
        """Resolve several states into one, by the algorithm of the room version; returns its root.

        unstored: events of this unit of work, by their IDs, that the states may hold and the database does not yet.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
        """
        distinct = frozenset(roots)
        if not distinct:
            return EMPTY
        if len(distinct) == 1:
            return next(iter(distinct))
        changes = self._resolved.get(distinct)
        if changes is None:
            changes = await self._resolution(tx, rules, sorted(distinct), unstored)
            self._resolved[distinct] = changes
            if len(self._resolved) > RESOLUTIONS_KEPT:
                self._resolved.popitem(last=False)
        else:
            self._resolved.move_to_end(distinct)
        return await self.changed(tx, min(distinct), changes)

    async def _resolution(
        self,
        tx: Transaction,
        rules: RoomRules,
        roots: Sequence[Digest],
        unstored: Mapping[str, NewEvent],
    ) -> dict[StateKey, str | None]:
        """What has to be changed in the first of at least two states to get their resolution. Reads only what differs."""
        base, *others = roots
        differences = [await self.changes(tx, base, other) for other in others]
        first = {key: old for each in differences for key, (old, _) in each.items()}
        sets = [first, *({**first, **{key: new for key, (_, new) in each.items()}} for each in differences)]
        differing = [
            {key: event_id for key, event_id in each.items() if event_id is not None} for each in sets
        ]
        rejected: set[str] = set()
        steps = resolve_differing(rules, differing, rejected=rejected)
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, SharedEntries):
                    wanted = steps.send(await self._shared(tx, base, wanted.keys, first))
                else:
                    wanted = steps.send(await _events(tx, wanted, unstored, rejected))
        except StopIteration as done:
            result: dict[StateKey, str] = done.value
        changes = {key: result.get(key) for key in first.keys() | result.keys()}
        return {key: event_id for key, event_id in changes.items() if event_id != first.get(key)}

    async def _shared(
        self,
        tx: Transaction,
        root: Digest,
        keys: Collection[StateKey] | None,
        differing: Container[StateKey],
    ) -> dict[StateKey, str]:
        """The entries that a state shares with those that it differs from in `differing`; `keys` None: all of them."""
        found = await self.all_ids(tx, root) if keys is None else await self.ids(tx, root, keys)
        return {key: event_id for key, event_id in found.items() if key not in differing}


async def _events(
    tx: Transaction, wanted: Collection[str], unstored: Mapping[str, NewEvent], rejected: set[str]
) -> dict[str, Event]:
    """Events that state resolution asks for; notes those among them that were rejected."""
    found: dict[str, StoredEvent | NewEvent] = {
        event_id: unstored[event_id] for event_id in wanted if event_id in unstored
    }
    found.update(await stored_events.get_many(tx, [each for each in wanted if each not in found]))
    rejected.update(each for each, event in found.items() if event.status is EventStatus.REJECTED)
    return {event_id: event.event for event_id, event in found.items()}
