"""The storage of state maps."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping

import pytest

from homeserver.core import state_map
from homeserver.core.state_map import EMPTY, Digest, StateKey
from homeserver.storage import state
from homeserver.storage.database import Database, Transaction
from homeserver.storage.state import NodeCache, UnknownState

MEMBER = "m.room.member"


def event_id(number: int) -> str:
    """An event ID as of room version 4."""
    return "$" + urlsafe_b64encode(hashlib.sha256(b"%d" % number).digest()).decode().rstrip("=")


def room(count: int) -> dict[StateKey, str]:
    """The state of a room with that many members."""
    found = {(MEMBER, f"@user{number}:example.org"): event_id(number) for number in range(count)}
    return {**found, ("m.room.create", ""): event_id(-1), ("m.room.name", ""): event_id(-2)}


class Counted:
    """A transaction that counts its statements."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.dialect = tx.dialect
        self.fetches = 0
        self.fetch_one, self.execute = tx.fetch_one, tx.execute
        self.execute_many, self.fetch_value = tx.execute_many, tx.fetch_value

    async def fetch(self, sql: str, *args: object) -> object:
        """See `Transaction.fetch`."""
        self.fetches += 1
        return await self.tx.fetch(sql, *args)


async def build(database: Database, cache: NodeCache, entries: Mapping[StateKey, str]) -> Digest:
    """Store a map."""
    return await database.write(lambda tx: state.build(tx, cache, entries))


async def entries(database: Database, root: Digest) -> dict[StateKey, str]:
    """All entries of a map, without a cache."""
    return await database.read(lambda tx: state.entries(tx, NodeCache(), root))


async def stored_nodes(database: Database) -> int:
    """How many nodes there are."""
    return int(await database.read(lambda tx: tx.fetch_value("SELECT count(*) FROM state_nodes")))


@pytest.mark.parametrize("cache_bytes", [64 << 20, 5000, 0])
async def test_versions_of_a_state(database: Database, cache_bytes: int) -> None:
    """Whatever the cache can hold."""
    cache = NodeCache(cache_bytes)
    first = room(500)
    old = await build(database, cache, first)
    changes = {(MEMBER, "@user7:example.org"): None, (MEMBER, "@new:example.org"): event_id(9)}
    new = await database.write(lambda tx: state.update(tx, cache, old, changes))
    second = {**first, (MEMBER, "@new:example.org"): event_id(9)}
    gone = second.pop((MEMBER, "@user7:example.org"))

    assert await entries(database, old) == first
    assert await entries(database, new) == second
    assert new == state_map.build(second).root

    async def reads(tx: Transaction) -> None:
        assert await state.entries(tx, cache, new) == second
        assert await state.size(tx, cache, new) == len(second)
        found = await state.lookup(tx, cache, new, [("m.room.name", ""), *changes])
        assert found == {("m.room.name", ""): event_id(-2), (MEMBER, "@new:example.org"): event_id(9)}
        assert await state.diff(tx, cache, old, new) == {
            (MEMBER, "@user7:example.org"): (gone, None),
            (MEMBER, "@new:example.org"): (None, event_id(9)),
        }
        others = await state.entries_except_type(tx, cache, new, MEMBER)
        assert others == {key: value for key, value in second.items() if key[0] != MEMBER}
        of_type = await state.entries_of_type(tx, cache, new, MEMBER)
        assert of_type == {key: value for key, value in second.items() if key[0] == MEMBER}

    await database.read(reads)
    assert cache.bytes <= cache_bytes


async def test_the_empty_state(database: Database) -> None:
    cache = NodeCache()
    assert await build(database, cache, {}) == EMPTY
    assert await database.write(lambda tx: state.update(tx, cache, EMPTY, {})) == EMPTY
    assert await entries(database, EMPTY) == {}
    one = await database.write(lambda tx: state.update(tx, cache, EMPTY, {("a", ""): "$a"}))
    assert await entries(database, one) == {("a", ""): "$a"}
    assert await database.write(lambda tx: state.update(tx, cache, one, {("a", ""): None})) == EMPTY


async def test_a_node_is_stored_once(database: Database) -> None:
    cache = NodeCache()
    root = await build(database, cache, room(500))
    nodes = await stored_nodes(database)
    assert await build(database, cache, room(500)) == root
    assert await stored_nodes(database) == nodes
    changes = {(MEMBER, "@user7:example.org"): event_id(0)}
    await database.write(lambda tx: state.update(tx, cache, root, changes))
    assert nodes < await stored_nodes(database) <= nodes + 6


async def test_updates_within_one_unit_build_on_each_other(database: Database) -> None:
    cache = NodeCache()

    async def work(tx: Transaction) -> Digest:
        root = await state.build(tx, cache, room(50))
        for number in range(5):
            root = await state.update(tx, cache, root, {("org.example", str(number)): event_id(number)})
        return root

    root = await database.write(work)
    assert await entries(database, root) == room(50) | {
        ("org.example", str(n)): event_id(n) for n in range(5)
    }


class Undone(Exception):
    """Raised to undo a unit of work."""


async def test_what_was_undone_is_not_built_upon(database: Database) -> None:
    """Its nodes are in the cache, and yet not in the database."""
    cache = NodeCache()
    made: list[Digest] = []

    async def work(tx: Transaction) -> None:
        made.append(await state.build(tx, cache, room(100)))
        made.append(await state.update(tx, cache, made[0], {("a", ""): "$a"}))
        raise Undone

    with pytest.raises(Undone):
        await database.write(work)
    assert await stored_nodes(database) == 0
    for root in made:
        with pytest.raises(UnknownState, match=root.hex()):
            await database.write(lambda tx, root=root: state.update(tx, cache, root, {("b", ""): "$b"}))  # type: ignore[misc]
    assert await stored_nodes(database) == 0

    # Made anew it is stored whole, whatever the cache holds.
    root = await build(database, cache, room(100))
    new = await database.write(lambda tx: state.update(tx, cache, root, {("a", ""): "$a"}))
    assert new == made[1]
    assert await entries(database, new) == room(100) | {("a", ""): "$a"}


async def test_an_unknown_state_is_told(database: Database) -> None:
    unknown = state_map.build(room(3)).root
    with pytest.raises(UnknownState, match=unknown.hex()):
        await entries(database, unknown)


async def test_a_level_is_one_statement(database: Database) -> None:
    root = await build(database, NodeCache(), room(2000))
    cache = NodeCache()

    async def work(tx: Transaction) -> list[int]:
        counted = Counted(tx)
        numbers = []
        for _ in range(2):
            await state.entries(counted, cache, root)  # type: ignore[arg-type]
            numbers.append(counted.fetches)
        return numbers

    first, both = await database.read(work)
    assert first <= 6
    assert both == first  # the second time all came from the cache


def test_the_cache_keeps_what_was_used_last() -> None:
    size = 100 + state._ENTRY_OVERHEAD
    cache = NodeCache(3 * size)
    one, two, three, four = (bytes([number]) * 16 for number in range(4))
    cache.put_many({digest: bytes(100) for digest in (one, two, three)})
    cache.put_many({one: bytes(100)})  # is there already
    assert cache.bytes == 3 * size
    cache.get_many([one])
    cache.put_many({four: bytes(100)})
    assert set(cache.get_many([one, two, three, four])) == {one, three, four}
    assert (len(cache), cache.bytes, cache.hits, cache.misses) == (3, 3 * size, 4, 1)
