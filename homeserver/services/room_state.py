"""The state of rooms: looking things up in a state map, and resolving several of them into one.

Every function runs inside a unit of work: it awaits nothing but `tx`.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomRules
from homeserver.core.state_map import EMPTY, Digest
from homeserver.core.state_resolution import resolve
from homeserver.storage import events as stored_events
from homeserver.storage import state
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus

RESOLUTIONS_KEPT = 1_000


class RoomStates:
    """State maps by their root digests, with the cache of their nodes and of what they resolved to."""

    def __init__(self, cache: state.NodeCache) -> None:
        """`cache`: the nodes of state maps in memory."""
        self._cache = cache
        self._resolved: OrderedDict[frozenset[Digest], Digest] = OrderedDict()

    async def ids(self, tx: Transaction, root: Digest, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """The event IDs of some entries; entries that do not exist are left out."""
        return await state.lookup(tx, self._cache, root, keys)

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

    async def resolved(self, tx: Transaction, rules: RoomRules, roots: Sequence[Digest]) -> Digest:
        """Resolve several states into one, by the algorithm of the room version; returns its root.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
        """
        distinct = frozenset(roots)
        if not distinct:
            return EMPTY
        if len(distinct) == 1:
            return next(iter(distinct))
        if distinct in self._resolved:
            self._resolved.move_to_end(distinct)
            return self._resolved[distinct]
        state_sets = [await self.all_ids(tx, root) for root in sorted(distinct)]
        result = await _drive(tx, rules, state_sets)
        base = state_sets[0]
        changes: dict[StateKey, str | None] = {key: None for key in base if key not in result}
        changes.update((key, event_id) for key, event_id in result.items() if base.get(key) != event_id)
        root = await self.changed(tx, min(distinct), changes)
        self._resolved[distinct] = root
        if len(self._resolved) > RESOLUTIONS_KEPT:
            self._resolved.popitem(last=False)
        return root


async def _drive(
    tx: Transaction, rules: RoomRules, state_sets: Sequence[Mapping[StateKey, str]]
) -> dict[StateKey, str]:
    """Run state resolution, fetching the events that it asks for."""
    rejected: set[str] = set()
    steps = resolve(rules, state_sets, rejected=rejected)
    try:
        wanted = next(steps)
        while True:
            found = await stored_events.get_many(tx, wanted)
            rejected.update(
                event_id for event_id, stored in found.items() if stored.status is EventStatus.REJECTED
            )
            wanted = steps.send({event_id: stored.event for event_id, stored in found.items()})
    except StopIteration as done:
        result: dict[StateKey, str] = done.value
        return result
