"""The persistent state map against plain dicts."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core import state_nodes
from homeserver.core.state_map import (
    EMPTY,
    LEAF_SIZE,
    CorruptNode,
    Digest,
    MissingNode,
    StateKey,
    Update,
    Walk,
    all_entries,
    build,
    children,
    diff,
    digest_of,
    entries_except_type,
    entries_of_type,
    lookup,
    run,
    size,
    update,
)

MEMBER = "m.room.member"


def event_id(number: int) -> str:
    """An event ID as of room version 4."""
    return "$" + urlsafe_b64encode(hashlib.sha256(b"%d" % number).digest()).decode().rstrip("=")


def members(count: int) -> dict[StateKey, str]:
    """The members of a room."""
    return {(MEMBER, f"@user{number}:example.org"): event_id(number) for number in range(count)}


def counted(walk: Walk[object], nodes: Mapping[Digest, bytes]) -> tuple[list[set[Digest]], object]:
    """Take a walk to its end, with exactly what it asks for: what it asked for each time, and its result."""
    asked = []
    try:
        wanted = next(walk)
        while True:
            asked.append(set(wanted))
            wanted = walk.send({digest: nodes[digest] for digest in wanted})
    except StopIteration as end:
        return asked, end.value


def reachable(root: Digest, nodes: Mapping[Digest, bytes]) -> set[Digest]:
    """All nodes of a map."""
    found: set[Digest] = set()
    pending = [root] if root != EMPTY else []
    while pending:
        digest = pending.pop()
        found.add(digest)
        pending.extend(children(nodes[digest]))
    return found


# Few keys, so that they meet; types that share the first step with others, texts of every kind.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = st.tuples(
    st.sampled_from([MEMBER, "m.room.name", "m.space.child", "org.example"]) | texts,
    st.integers(0, 60).map(lambda number: f"@u{number}:example.org") | texts,
)
hashes = st.integers(0, 1000).map(event_id)
ids = (
    hashes
    | hashes.map(lambda text: text.replace("-", "+").replace("_", "/"))
    | texts.map("${}:example.org".format)
)
maps = st.dictionaries(keys, ids, max_size=80)
changes = st.dictionaries(keys, st.none() | ids, max_size=40)


def changed(entries: Mapping[StateKey, str], by: Mapping[StateKey, str | None]) -> dict[StateKey, str]:
    """What `update` does, on a dict."""
    return {key: value for key, value in {**entries, **by}.items() if value is not None}


@given(maps)
def test_a_built_map_has_its_entries(entries: dict[StateKey, str]) -> None:
    made = build(entries)
    assert run(all_entries(made.root), made.new_nodes) == entries
    assert run(size(made.root), made.new_nodes) == len(entries)
    assert reachable(made.root, made.new_nodes) == set(made.new_nodes)
    assert all(digest_of(encoding) == digest for digest, encoding in made.new_nodes.items())


@given(maps, st.lists(changes, max_size=5), st.randoms())
@settings(max_examples=200)
def test_the_root_is_a_function_of_the_entries(
    entries: dict[StateKey, str], steps: list[dict[StateKey, str | None]], order: random.Random
) -> None:
    """However a map came about it is the same as one built at once; and everything new is among the new nodes."""
    made = build(entries)
    nodes, root = dict(made.new_nodes), made.root
    for step in steps:
        entries = changed(entries, step)
        new = run(update(root, step), nodes)
        before = reachable(root, nodes)
        nodes.update(new.new_nodes)
        root = new.root
        assert not before & set(new.new_nodes)
        assert reachable(root, nodes) - before == set(new.new_nodes)
    shuffled = list(entries.items())
    order.shuffle(shuffled)
    assert root == build(dict(shuffled)).root
    assert run(all_entries(root), nodes) == entries
    assert run(size(root), nodes) == len(entries)


@given(maps, maps)
def test_equal_roots_are_equal_entries(one: dict[StateKey, str], other: dict[StateKey, str]) -> None:
    assert (build(one).root == build(other).root) == (one == other)


@given(maps, changes)
def test_diff_is_what_differs(entries: dict[StateKey, str], by: dict[StateKey, str | None]) -> None:
    old = build(entries)
    new = run(update(old.root, by), old.new_nodes)
    after = changed(entries, by)
    nodes = {**old.new_nodes, **new.new_nodes}
    expected = {
        key: (entries.get(key), after.get(key))
        for key in entries.keys() | after.keys()
        if entries.get(key) != after.get(key)
    }
    assert run(diff(old.root, new.root), nodes) == expected
    assert run(diff(new.root, old.root), nodes) == {key: (b, a) for key, (a, b) in expected.items()}


@given(maps, maps)
def test_diff_of_unrelated_maps_makes_one_of_the_other(
    one: dict[StateKey, str], other: dict[StateKey, str]
) -> None:
    old, new = build(one), build(other)
    found = run(diff(old.root, new.root), {**old.new_nodes, **new.new_nodes})
    by = {key: after for key, (_, after) in found.items()}
    assert run(update(old.root, by), old.new_nodes).root == new.root


@given(maps, st.sets(keys, max_size=20))
def test_lookup_finds_what_is_there(entries: dict[StateKey, str], wanted: set[StateKey]) -> None:
    made = build(entries)
    wanted |= set(list(entries)[::3])
    assert run(lookup(made.root, wanted), made.new_nodes) == {
        key: entries[key] for key in wanted if key in entries
    }


@given(maps, keys)
def test_entries_by_type(entries: dict[StateKey, str], key: StateKey) -> None:
    made = build(entries)
    for wanted in (MEMBER, key[0], *(found for found, _ in entries)):
        of_type = {k: v for k, v in entries.items() if k[0] == wanted}
        assert run(entries_of_type(made.root, wanted), made.new_nodes) == of_type
        others = {k: v for k, v in entries.items() if k[0] != wanted}
        assert run(entries_except_type(made.root, wanted), made.new_nodes) == others


@given(maps)
def test_removing_everything_leaves_the_empty_map(entries: dict[StateKey, str]) -> None:
    made = build(entries)
    assert run(update(made.root, dict.fromkeys(entries)), made.new_nodes) == Update(EMPTY, {})


def test_the_empty_map_needs_no_nodes() -> None:
    assert build({}) == Update(EMPTY, {})
    assert run(all_entries(EMPTY), {}) == {}
    assert run(lookup(EMPTY, [("a", "")]), {}) == {}
    assert run(entries_of_type(EMPTY, "a"), {}) == {}
    assert run(entries_except_type(EMPTY, MEMBER), {}) == {}
    assert run(diff(EMPTY, EMPTY), {}) == {}
    assert run(size(EMPTY), {}) == 0
    assert run(update(EMPTY, {("a", ""): None}), {}) == Update(EMPTY, {})


def test_a_change_that_changes_nothing_makes_no_node() -> None:
    made = build(members(100))
    by = {(MEMBER, "@user1:example.org"): event_id(1), (MEMBER, "@nobody:example.org"): None}
    assert run(update(made.root, by), made.new_nodes) == Update(made.root, {})
    assert run(update(made.root, {}), {}) == Update(made.root, {})


def test_a_change_makes_few_nodes_and_small_ones() -> None:
    made = build(members(10_000))
    for number in range(0, 10_000, 97):
        for value in (event_id(-number), None):
            by = {(MEMBER, f"@user{number}:example.org"): value}
            new = run(update(made.root, by), made.new_nodes)
            assert len(new.new_nodes) <= 7
            assert sum(len(encoding) for encoding in new.new_nodes.values()) < 2000


def test_nodes_grow_with_the_logarithm() -> None:
    """Ten times the entries are one level more, or none."""
    levels = []
    for count in (10, 100, 1000, 10_000):
        made = build(members(count))
        asked, _ = counted(lookup(made.root, [(MEMBER, "@user5:example.org")]), made.new_nodes)
        levels.append(len(asked))
    assert levels[-1] <= 6
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_diff_reads_only_what_differs() -> None:
    old = build(members(10_000))
    by = {(MEMBER, f"@user{number}:example.org"): event_id(-1) for number in (1, 2, 3)}
    new = run(update(old.root, by), old.new_nodes)
    asked, found = counted(diff(old.root, new.root), {**old.new_nodes, **new.new_nodes})
    assert len(set().union(*asked)) <= 2 * len(new.new_nodes)
    assert len(asked) <= 6
    assert set(found) == set(by)  # type: ignore[call-overload]
    assert counted(diff(new.root, new.root), {}) == ([], {})


def test_walks_ask_for_a_whole_level_at_once() -> None:
    made = build(members(5000))
    for walk in (
        all_entries(made.root),
        lookup(made.root, list(members(500))),
        update(made.root, members(500)),
    ):
        asked, _ = counted(walk, made.new_nodes)
        assert len(asked) <= 6


def test_what_is_not_members_is_read_without_the_members() -> None:
    others: dict[StateKey, str] = {("m.room.create", ""): "$create", ("m.room.name", ""): "$name"}
    made = build(members(5000) | others)
    asked, found = counted(entries_except_type(made.root, MEMBER), made.new_nodes)
    assert found == others
    assert sum(len(level) for level in asked) == 3
    asked, _ = counted(entries_of_type(made.root, MEMBER), made.new_nodes)
    assert not set().union(*asked) & {
        digest_of(state_nodes.encode_leaf({key: others[key]})) for key in others
    }


def test_shape_around_the_size_of_a_leaf() -> None:
    """One more entry than fits in a leaf makes a branch, one less a leaf again."""
    full = members(LEAF_SIZE)
    leaf = build(full)
    assert len(leaf.new_nodes) == 1
    branch = run(update(leaf.root, {(MEMBER, "@one:more"): event_id(99)}), leaf.new_nodes)
    assert len(branch.new_nodes) > 2
    back = run(update(branch.root, {(MEMBER, "@one:more"): None}), branch.new_nodes)
    assert back.root == leaf.root


def test_entries_whose_hashes_are_equal_share_a_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should keys ever have the same path, nothing is lost and nothing loops."""
    monkeypatch.setattr("homeserver.core.state_map.path_of", lambda key: bytes(state_nodes.PATH_LENGTH))
    entries = members(30)
    made = build(entries)
    assert run(all_entries(made.root), made.new_nodes) == entries
    smaller = run(update(made.root, dict.fromkeys(list(entries)[:25])), made.new_nodes)
    assert smaller.root == build(dict(list(entries.items())[25:])).root


# Encoding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "length"),
    [
        (event_id(1), 32),
        ("$" + b64encode(b"\xff" * 32).decode().rstrip("="), 32),
        ("$143273582443PhrSn:example.org", 31),
        ("$" + "a" * 43 + "b", 46),
        ("$" + "A" * 42 + "B", 45),  # not how these 32 bytes are written
        ("", 1),
    ],
)
def test_event_ids_are_packed_and_come_back(identifier: str, length: int) -> None:
    made = build({(MEMBER, ""): identifier})
    assert run(all_entries(made.root), made.new_nodes) == {(MEMBER, ""): identifier}
    assert [len(encoding) for encoding in made.new_nodes.values()] == [1 + 1 + 1 + length]


def test_the_encoding_stays_what_it_is() -> None:
    """What is in databases must be read by every later version, and made in the same way."""
    entries = members(20) | {("m.room.create", ""): "$create:example.org", ("org.example", "ü"): event_id(3)}
    assert build(entries).root.hex() == "c45e93c6f19b7963186e57b9a5dc2248"
    assert EMPTY.hex() == "7025e075d5e2f6cde3cc051a31f07660"


def test_a_missing_node_is_told() -> None:
    made = build(members(100))
    for walk in (
        all_entries(made.root),
        update(made.root, members(1) | {("a", ""): "$a"}),
        diff(EMPTY, made.root),
    ):
        with pytest.raises(MissingNode, match=made.root.hex()):
            run(walk, {})


def test_damaged_nodes_are_told() -> None:
    def damages(encoding: bytes) -> Iterable[bytes]:
        yield from (encoding[:length] for length in range(len(encoding)) if length != 1 or encoding[0] == 1)
        yield b"\x02" + encoding[1:]
        if encoding[0] == 1:
            yield encoding + b"\0"

    one = state_nodes.encode_leaf({("m.room.name", ""): event_id(1)})
    branch = next(encoding for encoding in build(members(30)).new_nodes.values() if encoding[0] == 1)
    for encoding in (one, branch):
        state_nodes.decode(encoding)
        for damaged in damages(encoding):
            with pytest.raises(CorruptNode):
                state_nodes.decode(damaged)
