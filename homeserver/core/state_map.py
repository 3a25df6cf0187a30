"""The persistent map (type, state_key) -> event ID: a room's state in all its versions.

A map is a trie of immutable nodes (`state_nodes`). A node is known by the digest of its encoding, so that it
is stored once whoever uses it, and a version of the state *is* the digest of its root. The shape is a
function of the set of entries alone: two maps are equal exactly if their roots are. A change makes O(log n)
new nodes; two versions are compared by walking only what differs.

- A subtree of at most LEAF_SIZE entries is one leaf; a larger one is a branch of up to 16 children.
- The first step of an entry's path depends on its type alone, and m.room.member has a step to itself: the
  members of a room, or everything but the members, are found without walking the rest.
- The further steps are the hash of (type, state_key).

Nothing here reads or writes: a walk is a generator that yields the digests of the nodes it needs, a level at
a time, and is sent a mapping with their encodings.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from homeserver.core.state_nodes import (
    DIGEST_SIZE,
    EMPTY,
    MEMBER,
    PATH_LENGTH,
    Branch,
    CorruptNode,
    Digest,
    Entries,
    Leaf,
    Node,
    StateKey,
    decode,
    digest_of,
    encode_branch,
    encode_leaf,
    path_of,
    type_step,
)

__all__ = [
    "DIGEST_SIZE",
    "EMPTY",
    "LEAF_SIZE",
    "Change",
    "CorruptNode",
    "Digest",
    "Entries",
    "MissingNode",
    "StateKey",
    "Update",
    "Walk",
    "all_entries",
    "build",
    "children",
    "diff",
    "digest_of",
    "entries_except_type",
    "entries_of_type",
    "lookup",
    "run",
    "size",
    "update",
]

T = TypeVar("T")
Walk: TypeAlias = Generator[Collection[Digest], Mapping[Digest, bytes], T]
Change: TypeAlias = tuple[str | None, str | None]

LEAF_SIZE = 8


class MissingNode(LookupError):
    """A node that a walk needs was not among those it was sent."""


@dataclass(frozen=True, slots=True)
class Update:
    """A new version of a map: its root, and the nodes it has that the version it was made from has not."""

    root: Digest
    new_nodes: dict[Digest, bytes]


def lookup(root: Digest, keys: Collection[StateKey]) -> Walk[Entries]:
    """The entries of the map at `root` for `keys`; keys without an entry are left out."""
    found: Entries = {}
    level: dict[Digest, list[tuple[StateKey, bytes]]] = {}
    if root != EMPTY and keys:
        level[root] = [(key, path_of(key)) for key in keys]
    depth = 0
    while level:
        nodes = yield level.keys()
        below: dict[Digest, list[tuple[StateKey, bytes]]] = {}
        for digest, wanted in level.items():
            node = decode(_take(nodes, digest))
            if isinstance(node, Leaf):
                found.update((key, node.entries[key]) for key, _ in wanted if key in node.entries)
                continue
            for key, path in wanted:
                child = node.children.get(path[depth])
                if child is not None:
                    below.setdefault(child, []).append((key, path))
        level = below
        depth += 1
    return found


def all_entries(root: Digest) -> Walk[Entries]:
    """All entries of the map at `root`."""
    return (yield from _entries_below(root, None))


def entries_of_type(root: Digest, event_type: str) -> Walk[Entries]:
    """The entries of one type. Walks about a fifteenth of the others; for m.room.member none."""
    found = yield from _entries_below(root, {type_step(event_type)})
    return {key: event_id for key, event_id in found.items() if key[0] == event_type}


def entries_except_type(root: Digest, event_type: str) -> Walk[Entries]:
    """The entries of all other types. For m.room.member the members are not walked."""
    steps = set(range(1, 16)) if event_type == MEMBER else None
    found = yield from _entries_below(root, steps)
    return {key: event_id for key, event_id in found.items() if key[0] != event_type}


def size(root: Digest) -> Walk[int]:
    """How many entries the map has; only the root is read."""
    if root == EMPTY:
        return 0
    nodes = yield {root}
    return decode(_take(nodes, root)).count


def diff(old_root: Digest, new_root: Digest) -> Walk[dict[StateKey, Change]]:
    """What differs between two maps: for each such key its old and new event ID, None where it has none."""
    changes: dict[StateKey, Change] = {}
    level: list[tuple[_Side, _Side]] = [(old_root, new_root)] if old_root != new_root else []
    depth = 0
    while level:
        sides = {side for pair in level for side in pair if isinstance(side, bytes)} - {EMPTY}
        nodes: Mapping[Digest, bytes] = (yield sides) if sides else {}
        below: list[tuple[_Side, _Side]] = []
        for old_side, new_side in level:
            old, new = _load_side(old_side, nodes), _load_side(new_side, nodes)
            if isinstance(old, dict) and isinstance(new, dict):
                for key in old.keys() | new.keys():
                    if old.get(key) != new.get(key):
                        changes[key] = (old.get(key), new.get(key))
                continue
            old_children, new_children = _split_side(old, depth), _split_side(new, depth)
            for step in old_children.keys() | new_children.keys():
                pair = (old_children.get(step, EMPTY), new_children.get(step, EMPTY))
                if pair[0] != pair[1]:
                    below.append(pair)
        level = below
        depth += 1
    return changes


def update(root: Digest, changes: Mapping[StateKey, str | None]) -> Walk[Update]:
    """The map at `root` with `changes` made: an event ID sets an entry, None removes it if it is there."""
    if not changes:
        return Update(root, {})
    nodes: dict[Digest, Node] = {EMPTY: Leaf({})}
    paths = [(path_of(key), key, event_id) for key, event_id in changes.items()]
    yield from _load_paths(root, [path for path, _, _ in paths], nodes)
    while True:
        missing: set[Digest] = set()
        made = _rebuild(root, 0, paths, nodes, missing)
        if not missing:
            break
        # Deletions left a branch with so few entries that it becomes a leaf: the rest of it is needed.
        found = yield missing
        nodes.update((digest, decode(_take(found, digest))) for digest in missing)
    # A leaf that moves up or down as a whole is the node that it was.
    return _as_update(made, nodes)


def build(entries: Mapping[StateKey, str]) -> Update:
    """The map with exactly `entries`; `new_nodes` has all of its nodes."""
    made = _make([(path_of(key), key, event_id) for key, event_id in entries.items()], 0)
    return _as_update(made, {EMPTY: Leaf({})})


def run(walk: Walk[T], nodes: Mapping[Digest, bytes]) -> T:
    """Take a walk to its end among nodes that are at hand. Raises MissingNode if one is not."""
    try:
        next(walk)
        while True:
            walk.send(nodes)
    except StopIteration as end:
        result: T = end.value
        return result


def children(encoding: bytes) -> Collection[Digest]:
    """The digests of the nodes right below a node: none for a leaf."""
    node = decode(encoding)
    return node.children.values() if isinstance(node, Branch) else ()


# One side of a comparison: a node, or entries of a leaf that is compared with a branch.
_Side: TypeAlias = Digest | Entries
_Item: TypeAlias = tuple[bytes, StateKey, str]
_ChangeItem: TypeAlias = tuple[bytes, StateKey, str | None]


@dataclass(frozen=True, slots=True)
class _Subtree:
    """A subtree as it shall be. `encoding` is None if its root is a node that there was already."""

    digest: Digest
    count: int
    encoding: bytes | None = None
    entries: Entries | None = None  # of a leaf
    below: list[_Subtree] = field(default_factory=list)  # those children that were made


def _take(nodes: Mapping[Digest, bytes], digest: Digest) -> bytes:
    try:
        return nodes[digest]
    except KeyError:
        raise MissingNode(f"The state map's node {digest.hex()} is missing") from None


# Walking ----------------------------------------------------------------------------------------------------


def _entries_below(root: Digest, first_steps: Collection[int] | None) -> Walk[Entries]:
    """The entries below the root; if it is a branch, only those whose first step is among `first_steps`."""
    found: Entries = {}
    level: set[Digest] = {root} - {EMPTY}
    while level:
        nodes = yield level
        below: set[Digest] = set()
        for digest in level:
            node = decode(_take(nodes, digest))
            if isinstance(node, Leaf):
                found.update(node.entries)
            elif first_steps is None:
                below.update(node.children.values())
            else:
                below.update(child for step, child in node.children.items() if step in first_steps)
        first_steps = None
        level = below
    return found


def _load_paths(root: Digest, paths: Iterable[bytes], nodes: dict[Digest, Node]) -> Walk[None]:
    """Add to `nodes` those that the paths lead through."""
    level: dict[Digest, list[bytes]] = {root: list(paths)} if root != EMPTY else {}
    depth = 0
    while level:
        found = yield level.keys()
        below: dict[Digest, list[bytes]] = {}
        for digest, through in level.items():
            node = nodes[digest] = decode(_take(found, digest))
            if isinstance(node, Branch):
                for path in through:
                    child = node.children.get(path[depth])
                    if child is not None:
                        below.setdefault(child, []).append(path)
        level = below
        depth += 1


def _load_side(side: _Side, nodes: Mapping[Digest, bytes]) -> Entries | Branch:
    if isinstance(side, dict):
        return side
    if side == EMPTY:
        return {}
    node = decode(_take(nodes, side))
    return node.entries if isinstance(node, Leaf) else node


def _split_side(side: Entries | Branch, depth: int) -> Mapping[int, _Side]:
    if isinstance(side, Branch):
        return side.children
    split: dict[int, Entries] = {}
    for key, event_id in side.items():
        split.setdefault(path_of(key)[depth], {})[key] = event_id
    return split


# Making -----------------------------------------------------------------------------------------------------


def _make(items: list[_Item], depth: int) -> _Subtree:
    """The subtree with exactly these entries."""
    if len(items) <= LEAF_SIZE or depth == PATH_LENGTH:
        entries = {key: event_id for _, key, event_id in items}
        encoding = encode_leaf(entries)
        return _Subtree(digest_of(encoding), len(entries), encoding, entries)
    split: dict[int, list[_Item]] = {}
    for item in items:
        split.setdefault(item[0][depth], []).append(item)
    below = {step: _make(part, depth + 1) for step, part in split.items()}
    encoding = encode_branch(len(items), {step: subtree.digest for step, subtree in below.items()})
    return _Subtree(digest_of(encoding), len(items), encoding, below=list(below.values()))


def _rebuild(
    digest: Digest,
    depth: int,
    changes: list[_ChangeItem],
    nodes: Mapping[Digest, Node],
    missing: set[Digest],
) -> _Subtree:
    """The subtree at `digest` with the changes made. Notes missing nodes; then only its count is right."""
    node = nodes[digest]
    if isinstance(node, Leaf):
        entries = dict(node.entries)
        for _, key, event_id in changes:
            if event_id is None:
                entries.pop(key, None)
            else:
                entries[key] = event_id
        if entries == node.entries:
            return _Subtree(digest, len(entries), entries=entries)
        return _make([(path_of(key), key, event_id) for key, event_id in entries.items()], depth)

    split: dict[int, list[_ChangeItem]] = {}
    for change in changes:
        split.setdefault(change[0][depth], []).append(change)
    below = dict(node.children)
    count = node.count
    made: dict[int, _Subtree] = {}
    for step, part in split.items():
        old = node.children.get(step, EMPTY)
        subtree = _rebuild(old, depth + 1, part, nodes, missing)
        count += subtree.count - nodes[old].count
        if subtree.digest == old:
            continue
        made[step] = subtree
        below[step] = subtree.digest
        if subtree.count == 0:
            del below[step]
    if not made:
        return _Subtree(digest, node.count)
    if count <= LEAF_SIZE:
        return _collapse(count, below, made, depth, nodes, missing)
    encoding = encode_branch(count, below)
    return _Subtree(
        digest_of(encoding), count, encoding, below=[made[step] for step in made if step in below]
    )


def _collapse(
    count: int,
    below: Mapping[int, Digest],
    made: Mapping[int, _Subtree],
    depth: int,
    nodes: Mapping[Digest, Node],
    missing: set[Digest],
) -> _Subtree:
    """The one leaf that a branch with few entries becomes."""
    entries: Entries = {}
    for step, digest in below.items():
        if step in made:
            # It has no more entries than the whole, so it is a leaf.
            entries.update(made[step].entries or {})
        elif digest in nodes:
            node = nodes[digest]
            if isinstance(node, Leaf):
                entries.update(node.entries)
        else:
            missing.add(digest)
    if missing:
        return _Subtree(EMPTY, count)
    return _make([(path_of(key), key, event_id) for key, event_id in entries.items()], depth)


def _as_update(made: _Subtree, known: Container[Digest]) -> Update:
    new_nodes: dict[Digest, bytes] = {}
    pending = [made]
    while pending:
        subtree = pending.pop()
        if subtree.encoding is not None and subtree.digest not in known:
            new_nodes[subtree.digest] = subtree.encoding
        pending.extend(subtree.below)
    return Update(made.digest, new_nodes)
