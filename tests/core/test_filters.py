"""Which events a filter lets through."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.filters import EventFilter, RoomEventFilter, RoomFilter


@pytest.mark.parametrize(
    ("wanted", "event_type", "sender", "allowed"),
    [
        (EventFilter(), "m.any", "@a:b", True),
        (EventFilter(types=()), "m.any", "@a:b", False),
        (EventFilter(types=("m.room.*",)), "m.room.message", "@a:b", True),
        (EventFilter(types=("m.room.*",)), "m.roomy", "@a:b", False),
        (EventFilter(types=("m.room.message",)), "m.room.message", "@a:b", True),
        (EventFilter(types=("m.room.message",)), "m_room_message", "@a:b", False),
        (EventFilter(types=("*message",)), "m.room.message", "@a:b", True),
        (EventFilter(types=("m.*.me**ge",)), "m.room.message", "@a:b", True),
        (EventFilter(types=("*",)), "with\nnewline", "@a:b", True),
        (EventFilter(types=("m.*",), not_types=("m.room.*",)), "m.room.message", "@a:b", False),
        (EventFilter(senders=("@a:b",)), "m.any", "@a:b", True),
        (EventFilter(senders=("@a:b",)), "m.any", "@c:b", False),
        (EventFilter(senders=()), "m.any", "@a:b", False),
        (EventFilter(senders=("@a:b",), not_senders=("@a:b",)), "m.any", "@a:b", False),
        (EventFilter(not_senders=("@a:b",)), "m.any", None, True),
    ],
)
def test_types_and_senders(wanted: EventFilter, event_type: str, sender: str | None, allowed: bool) -> None:
    assert wanted.allows(event_type, sender) is allowed
    in_rooms = RoomEventFilter(
        types=wanted.types,
        not_types=wanted.not_types,
        senders=wanted.senders,
        not_senders=wanted.not_senders,
    )
    assert in_rooms.allows(event_type, sender, {}) is allowed
    assert in_rooms.lets_all_through is (wanted == EventFilter())


def test_urls() -> None:
    with_url, without = {"url": "mxc://a/b"}, {"body": "x"}
    assert RoomEventFilter().allows("m", "@a:b", with_url) and RoomEventFilter().allows("m", "@a:b", without)
    only = RoomEventFilter(contains_url=True)
    assert only.allows("m", "@a:b", with_url) and not only.allows("m", "@a:b", without)
    none = RoomEventFilter(contains_url=False)
    assert none.allows("m", "@a:b", without) and not none.allows("m", "@a:b", with_url)
    assert not only.lets_all_through and not none.lets_all_through


@pytest.mark.parametrize("kind", [RoomEventFilter, RoomFilter])
def test_rooms(kind: type[RoomEventFilter] | type[RoomFilter]) -> None:
    assert kind().allows_room("!a:b")
    assert kind(rooms=("!a:b",)).allows_room("!a:b") and not kind(rooms=("!a:b",)).allows_room("!c:d")
    assert not kind(rooms=()).allows_room("!a:b")
    assert not kind(rooms=("!a:b",), not_rooms=("!a:b",)).allows_room("!a:b")


def test_a_pattern_of_many_wildcards_is_not_slow() -> None:
    hostile = EventFilter(types=("*a" * 200 + "b",))
    started = time.perf_counter()
    assert not hostile.allows("a" * 255, "@a:b")
    assert time.perf_counter() - started < 0.5


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_wildcards_are_what_a_regular_expression_says(pattern: str, event_type: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), event_type) is not None
    assert EventFilter(types=(pattern,)).allows(event_type, None) is expected
