"""What receipts say, when one replaces another, and their forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.core.receipts import (
    MAIN,
    READ,
    READ_PRIVATE,
    UNTHREADED,
    Read,
    is_later,
    parse_thread_id,
    read_receipt_edu,
    receipt_edus,
    receipt_events,
)

ROOM, ALICE, BOB = "!room:test", "@alice:test", "@bob:test"
GOOD: dict[str, Any] = {"event_ids": ["$e"], "data": {"ts": 5}}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([ROOM, READ, ALICE, "$e"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from([ROOM, READ, ALICE, "event_ids", "data", "ts", "thread_id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def test_receipts_never_move_backwards() -> None:
    assert is_later(3, 4) and not is_later(4, 3) and not is_later(4, 4)
    assert is_later(-5, -4) and is_later(-5, 1) and not is_later(1, -5)
    assert is_later(None, 4) and is_later(4, None) and is_later(None, None)


def test_one_event_for_each_thread() -> None:
    receipts = [
        Read(ROOM, ALICE, READ, UNTHREADED, "$a", 1),
        Read(ROOM, ALICE, READ, MAIN, "$a", 2),
        Read(ROOM, BOB, READ_PRIVATE, UNTHREADED, "$a", 3),
        Read(ROOM, BOB, READ, "$root", "$b", 4),
        Read(ROOM, BOB, READ, MAIN, "$a", 5),
    ]
    assert receipt_events(receipts) == [
        {
            "type": "m.receipt",
            "content": {"$a": {READ: {ALICE: {"ts": 1}}, READ_PRIVATE: {BOB: {"ts": 3}}}},
        },
        {"type": "m.receipt", "content": {"$b": {READ: {BOB: {"ts": 4, "thread_id": "$root"}}}}},
        {
            "type": "m.receipt",
            "content": {
                "$a": {READ: {ALICE: {"ts": 2, "thread_id": MAIN}, BOB: {"ts": 5, "thread_id": MAIN}}}
            },
        },
    ]
    assert receipt_events([]) == []


@pytest.mark.parametrize("thread_id", [UNTHREADED, MAIN, "$root"])
def test_what_is_sent_is_read_again(thread_id: str) -> None:
    receipt = Read(ROOM, ALICE, READ, thread_id, "$e", 7)
    (content,) = receipt_edus([receipt])
    assert read_receipt_edu("test", content, 10) == [receipt]


def test_receipts_are_sent_together() -> None:
    first, second = Read(ROOM, ALICE, READ, UNTHREADED, "$a", 1), Read(ROOM, BOB, READ, MAIN, "$b", 2)
    threaded = Read(ROOM, ALICE, READ, "$root", "$c", 3)
    together, alone = receipt_edus([first, second, threaded])
    assert read_receipt_edu("test", together, 10) == [first, second]
    assert read_receipt_edu("test", alone, 10) == [threaded]
    assert receipt_edus([]) == []


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"event_ids": ["$e"]},
        {"data": {"ts": 1}},
        GOOD | {"event_ids": []},
        GOOD | {"event_ids": ["$a", "$b"]},
        GOOD | {"event_ids": "$e"},
        GOOD | {"event_ids": ["e"]},
        GOOD | {"event_ids": [5]},
        GOOD | {"event_ids": ["$" + "x" * 255]},
        GOOD | {"event_ids": ["$\0"]},
        GOOD | {"data": []},
        GOOD | {"data": {}},
        GOOD | {"data": {"ts": True}},
        GOOD | {"data": {"ts": "1"}},
        GOOD | {"data": {"ts": 1.0}},
        GOOD | {"data": {"ts": -1}},
        GOOD | {"data": {"ts": 2**53}},
        GOOD | {"data": {"ts": 1, "thread_id": ""}},
        GOOD | {"data": {"ts": 1, "thread_id": None}},
        GOOD | {"data": {"ts": 1, "thread_id": "elsewhere"}},
    ],
)
def test_malformed_receipts_are_left_out(told: Any) -> None:
    content = {ROOM: {READ: {ALICE: told, BOB: GOOD}}}
    assert read_receipt_edu("test", content, 10) == [Read(ROOM, BOB, READ, UNTHREADED, "$e", 5)]


def test_only_public_receipts_of_the_servers_own_users_count() -> None:
    content: dict[str, Any] = {
        ROOM: {
            READ: {"@alice:elsewhere": GOOD, "@alice:test:1": GOOD, "alice": GOOD},
            READ_PRIVATE: {ALICE: GOOD},
            "m.else": {ALICE: GOOD},
        },
        "room": {READ: {ALICE: GOOD}},
        "!two:test": [],
        "!three:test": {READ: []},
        "!four:test": {READ_PRIVATE: {ALICE: GOOD}},
    }
    assert read_receipt_edu("test", content, 10) == []


def test_no_more_than_the_limit() -> None:
    content = {f"!{room}:test": {READ: {f"@{user}:test": GOOD for user in range(5)}} for room in range(5)}
    assert len(read_receipt_edu("test", content, 7)) == 7
    assert len(read_receipt_edu("test", content, 100)) == 25


@given(st.dictionaries(st.text(max_size=3) | st.just(ROOM), json_values, max_size=3))
def test_any_content_is_read(content: dict[str, Any]) -> None:
    for receipt in read_receipt_edu("test", content, 5):
        assert receipt.user_id == ALICE and receipt.room_id == ROOM and receipt.event_id.startswith("$")


def test_thread_ids() -> None:
    assert parse_thread_id(MAIN) == MAIN and parse_thread_id("$root") == "$root"
    for wrong in ("", None, 5, [], "elsewhere", "$", "$" + "x" * 255):
        with pytest.raises(MatrixError) as raised:
            parse_thread_id(wrong)
        assert (raised.value.status, raised.value.errcode) == (400, "M_INVALID_PARAM")
