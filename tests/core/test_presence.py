"""What devices make of a user's presence, and its forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.presence import (
    ACTIVE_MS,
    GONE_MS,
    IDLE_MS,
    MAX_STATUS_BYTES,
    OFFLINE,
    ONLINE,
    STATES,
    UNAVAILABLE,
    Device,
    Judgement,
    PresenceState,
    is_valid_status,
    judge,
    presence_edu,
    read_presence_edu,
)

NOW = 1_700_000_000_000
ALICE = "@alice:test"

devices = st.builds(Device, st.sampled_from(STATES), st.integers(NOW - 2 * GONE_MS, NOW), st.integers(0, 2))


def syncing(asked: str) -> Device:
    return Device(asked, NOW, 1)


def test_the_most_present_device_counts() -> None:
    assert judge([], NOW, NOW) == judge([syncing(OFFLINE)], NOW, NOW) == Judgement(OFFLINE, False, None)
    assert judge([syncing(UNAVAILABLE), syncing(OFFLINE)], NOW, NOW) == Judgement(UNAVAILABLE, False, None)
    both = [syncing(UNAVAILABLE), syncing(ONLINE)]
    assert judge(both, NOW, NOW) == Judgement(ONLINE, True, NOW + ACTIVE_MS)


def test_time_without_activity() -> None:
    online = [syncing(ONLINE)]
    assert judge(online, NOW, NOW + ACTIVE_MS - 1) == Judgement(ONLINE, True, NOW + ACTIVE_MS)
    assert judge(online, NOW, NOW + ACTIVE_MS) == Judgement(ONLINE, False, NOW + IDLE_MS)
    assert judge(online, NOW, NOW + IDLE_MS) == Judgement(UNAVAILABLE, False, None)


def test_devices_that_do_not_come_back() -> None:
    gone = Device(ONLINE, NOW)
    assert judge([gone], NOW, NOW) == Judgement(ONLINE, True, NOW + GONE_MS)
    assert judge([gone], NOW, NOW + GONE_MS) == Judgement(OFFLINE, False, None)
    assert judge([gone, syncing(UNAVAILABLE)], NOW, NOW + GONE_MS) == Judgement(UNAVAILABLE, False, None)


@given(st.lists(devices, max_size=4), st.integers(NOW - 2 * IDLE_MS, NOW))
def test_nothing_changes_before_it_is_looked_at_again(found: list[Device], last_active_ms: int) -> None:
    now = judge(found, last_active_ms, NOW)
    later = NOW + 10 * IDLE_MS if now.until_ms is None else now.until_ms - 1
    if now.until_ms is not None:
        assert now.until_ms > NOW
    then = judge(found, last_active_ms, later)
    assert (then.presence, then.currently_active) == (now.presence, now.currently_active)


def test_the_content_of_the_event() -> None:
    assert PresenceState().content(NOW) == {"presence": OFFLINE}
    state = PresenceState(ONLINE, "here", NOW - 5, True)
    assert state.content(NOW) == {
        "presence": ONLINE,
        "status_msg": "here",
        "last_active_ago": 5,
        "currently_active": True,
    }
    assert PresenceState(UNAVAILABLE, None, NOW + 5).content(NOW) == {
        "presence": UNAVAILABLE,
        "last_active_ago": 0,
    }


def test_what_is_news() -> None:
    online = PresenceState(ONLINE, None, NOW, True)
    assert not online.is_news(online)
    assert not PresenceState(ONLINE, None, NOW + 10 * ACTIVE_MS, True).is_news(online), "as long as it is so"
    assert PresenceState(ONLINE, None, NOW, False).is_news(online)
    assert PresenceState(ONLINE, "x", NOW, True).is_news(online)
    assert PresenceState(UNAVAILABLE, None, NOW).is_news(online)
    idle = PresenceState(ONLINE, None, NOW, False)
    assert PresenceState(ONLINE, None, NOW + ACTIVE_MS, False).is_news(idle)
    assert not PresenceState(ONLINE, None, NOW + ACTIVE_MS - 1, False).is_news(idle)


@pytest.mark.parametrize(
    "state",
    [
        PresenceState(ONLINE, "ü", NOW - 7, True),
        PresenceState(UNAVAILABLE, None, NOW - 7),
        PresenceState(OFFLINE, None, NOW),
    ],
)
def test_what_is_sent_is_read_again(state: PresenceState) -> None:
    assert read_presence_edu("test", presence_edu(ALICE, state, NOW), NOW, 10) == {ALICE: state}


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"user_id": ALICE},
        {"user_id": "@alice:elsewhere", "presence": ONLINE, "last_active_ago": 0},
        {"user_id": "alice", "presence": ONLINE, "last_active_ago": 0},
        {"user_id": ALICE, "presence": "busy", "last_active_ago": 0},
        {"user_id": ALICE, "presence": [], "last_active_ago": 0},
        {"user_id": ALICE, "presence": ONLINE, "last_active_ago": -1},
        {"user_id": ALICE, "presence": ONLINE, "last_active_ago": 2**53},
        {"user_id": ALICE, "presence": ONLINE, "last_active_ago": "1"},
        {"user_id": ALICE, "presence": ONLINE, "last_active_ago": True},
    ],
)
def test_malformed_presence_is_left_out(told: Any) -> None:
    bob = {"user_id": "@bob:test", "presence": ONLINE, "last_active_ago": 5}
    found = read_presence_edu("test", {"push": [told, bob]}, NOW, 10)
    assert found == {"@bob:test": PresenceState(ONLINE, None, NOW - 5)}


def test_what_is_left_out_of_presence() -> None:
    told = {"user_id": ALICE, "presence": UNAVAILABLE, "last_active_ago": 5, "currently_active": True}
    for status_msg in (5, "\0", "x" * (MAX_STATUS_BYTES + 1)):
        content = {"push": [told | {"status_msg": status_msg}]}
        assert read_presence_edu("test", content, NOW, 10) == {
            ALICE: PresenceState(UNAVAILABLE, None, NOW - 5)
        }
    assert read_presence_edu("test", {"push": {}}, NOW, 10) == read_presence_edu("test", {}, NOW, 10) == {}
    many = [told | {"user_id": f"@{number}:test"} for number in range(5)]
    assert len(read_presence_edu("test", {"push": many}, NOW, 3)) == 3


def test_status_messages() -> None:
    assert is_valid_status("") and is_valid_status("x" * MAX_STATUS_BYTES)
    assert not is_valid_status("ü" * MAX_STATUS_BYTES) and not is_valid_status(None)
