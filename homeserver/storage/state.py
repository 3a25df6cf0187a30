"""The versions of rooms' states: the nodes of the state maps (`homeserver.core.state_map`) in one table.

A stored node implies that all nodes below it are stored: an update checks, in its own unit of work, that the map
it starts from is stored, and adds all nodes that are new. So a root that is stored is a whole map.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import TypeVar

from homeserver.core import state_map
from homeserver.core.state_map import EMPTY, Change, Digest, Entries, StateKey, Update, Walk
from homeserver.storage.database import DatabaseError, Transaction

T = TypeVar("T")

DEFAULT_CACHE_BYTES = 64 << 20
# What an entry of the cache takes besides its encoding: its key, the objects' headers, its place in the order.
_ENTRY_OVERHEAD = 250


class UnknownState(DatabaseError):
    """A state map that is not stored, as when the unit of work that made it was undone."""

    def __init__(self, root: Digest) -> None:
        super().__init__(f"The state map {root.hex()} is not in the database.")
        self.root = root


class NodeCache:
    """The encodings of the nodes used last, up to a number of bytes. Safe to use from several threads.

    A node is known by its content's digest, so what is here is right whatever became of the unit of work that
    put it here. It says nothing about whether a node is *stored*: `update` never asks it that.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._nodes: OrderedDict[Digest, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._nodes)

    def get_many(self, digests: Collection[Digest]) -> dict[Digest, bytes]:
        """Those of the nodes that are here."""
        found: dict[Digest, bytes] = {}
        with self._lock:
            for digest in digests:
                encoding = self._nodes.get(digest)
                if encoding is not None:
                    self._nodes.move_to_end(digest)
                    found[digest] = encoding
            self.hits += len(found)
            self.misses += len(digests) - len(found)
        return found

    def put_many(self, nodes: Mapping[Digest, bytes]) -> None:
        """Keep these nodes; those not used for longest go."""
        with self._lock:
            for digest, encoding in nodes.items():
                if digest not in self._nodes:
                    self.bytes += len(encoding) + _ENTRY_OVERHEAD
                    self._nodes[digest] = encoding
            while self.bytes > self.max_bytes:
                _, encoding = self._nodes.popitem(last=False)
                self.bytes -= len(encoding) + _ENTRY_OVERHEAD


async def lookup(tx: Transaction, cache: NodeCache, root: Digest, keys: Collection[StateKey]) -> Entries:
    """The entries of the map at `root` for `keys`; keys without an entry are left out."""
    return await _walk(tx, cache, state_map.lookup(root, keys))


async def entries(tx: Transaction, cache: NodeCache, root: Digest) -> Entries:
    """All entries of the map at `root`."""
    return await _walk(tx, cache, state_map.all_entries(root))


async def entries_of_type(tx: Transaction, cache: NodeCache, root: Digest, event_type: str) -> Entries:
    """The entries of one type. Nothing else is read for m.room.member, and little for other types."""
    return await _walk(tx, cache, state_map.entries_of_type(root, event_type))


async def entries_except_type(tx: Transaction, cache: NodeCache, root: Digest, event_type: str) -> Entries:
    """The entries of all other types. Without m.room.member, no members are read."""
    return await _walk(tx, cache, state_map.entries_except_type(root, event_type))


async def size(tx: Transaction, cache: NodeCache, root: Digest) -> int:
    """How many entries the map has; only its root is read."""
    return await _walk(tx, cache, state_map.size(root))


async def diff(
    tx: Transaction, cache: NodeCache, old_root: Digest, new_root: Digest
) -> dict[StateKey, Change]:
    """For each key that differs its old and new event ID, None where there is none. Reads only what differs."""
    return await _walk(tx, cache, state_map.diff(old_root, new_root))


async def update(
    tx: Transaction, cache: NodeCache, root: Digest, changes: Mapping[StateKey, str | None]
) -> Digest:
    """Store the map at `root` with `changes` made (None removes an entry), and return its root.

    Raises UnknownState if the map at `root` is not stored.
    """
    if root != EMPTY:
        await _check_stored(tx, cache, root)
    return await _store(tx, cache, await _walk(tx, cache, state_map.update(root, changes)))


async def build(tx: Transaction, cache: NodeCache, entries: Mapping[StateKey, str]) -> Digest:
    """Store the map with exactly these entries, and return its root. `update` is cheaper where it serves."""
    return await _store(tx, cache, state_map.build(entries))


async def _check_stored(tx: Transaction, cache: NodeCache, root: Digest) -> None:
    encoding = await tx.fetch_value("SELECT encoding FROM state_nodes WHERE digest = $1", root)
    if encoding is None:
        raise UnknownState(root)
    cache.put_many({root: encoding})


async def _store(tx: Transaction, cache: NodeCache, new: Update) -> Digest:
    if new.new_nodes:
        await tx.execute_many(
            "INSERT INTO state_nodes (digest, encoding) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            # In one order everywhere, so that two writers cannot wait for each other.
            sorted(new.new_nodes.items()),
        )
        cache.put_many(new.new_nodes)
    return new.root


async def _walk(tx: Transaction, cache: NodeCache, walk: Walk[T]) -> T:
    try:
        wanted = next(walk)
        while True:
            nodes = cache.get_many(wanted)
            missing = [digest for digest in wanted if digest not in nodes]
            if missing:
                rows = await tx.fetch(
                    "SELECT digest, encoding FROM state_nodes WHERE digest = ANY($1)", missing
                )
                fetched = {row[0]: row[1] for row in rows}
                cache.put_many(fetched)
                nodes.update(fetched)
                if len(fetched) < len(missing):
                    raise UnknownState(next(digest for digest in missing if digest not in fetched))
            wanted = walk.send(nodes)
    except StopIteration as end:
        result: T = end.value
        return result
