"""Power levels with and without an event, and their notations."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.power_levels import (
    INFINITE,
    POWER_LEVELS,
    PowerLevels,
    creators,
    parse_level,
    power_levels_of,
)
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL, Room, busy_room, versions


def levels(version: str, content: dict[str, Any] | None) -> PowerLevels:
    return PowerLevels(ROOM_VERSIONS[version], content, frozenset({ALICE}))


@pytest.mark.parametrize("version", ALL)
def test_without_event(version: str) -> None:
    room = Room(version)
    found = power_levels_of(room.state)
    assert found.user_level(ALICE) == (INFINITE if version == "12" else 100)
    assert found.user_level(BOB) == 0
    assert (found.ban, found.kick, found.redact, found.invite) == (50, 50, 50, 0)
    assert found.required_level("m.room.name", is_state=True) == 50
    assert found.required_level("m.room.message", is_state=False) == 0
    assert found.notification_level("room") == 50


@pytest.mark.parametrize("version", ALL)
def test_empty_event(version: str) -> None:
    found = levels(version, {})
    assert found.user_level(ALICE) == (INFINITE if version == "12" else 0)
    assert found.required_level("m.room.name", is_state=True) == 50
    assert found.required_level("m.room.name", is_state=False) == 0


@pytest.mark.parametrize("version", ALL)
def test_given_levels(version: str) -> None:
    found = levels(
        version,
        {
            "users": {BOB: 70},
            "users_default": 5,
            "events": {"m.room.name": 71, "m.text": 6},
            "events_default": 7,
            "state_default": 60,
            "ban": 61,
            "kick": 62,
            "redact": 70,
            "invite": 64,
            "notifications": {"room": 65},
        },
    )
    assert (found.user_level(BOB), found.user_level(CAROL)) == (70, 5)
    assert (found.ban, found.kick, found.redact, found.invite) == (61, 62, 70, 64)
    assert not found.can_send(BOB, "m.room.name", is_state=True)
    assert found.can_send(BOB, "m.room.topic", is_state=True)
    assert not found.can_send(CAROL, "m.text", is_state=False)
    assert found.can_redact_others(BOB)
    assert not found.can_redact_others(CAROL)
    assert found.can_notify(BOB, "room")
    assert not found.can_notify(CAROL, "room")
    assert found.can_invite(BOB)
    assert not found.can_invite(CAROL)


def test_power_over_others() -> None:
    found = levels("11", {"users": {ALICE: 100, BOB: 50}, "kick": 50, "ban": 60})
    assert found.can_kick(BOB, CAROL)
    assert not found.can_kick(BOB, BOB)
    assert not found.can_kick(BOB, ALICE)
    assert not found.can_ban(BOB, CAROL)
    assert not found.can_unban(BOB, CAROL)
    assert found.can_ban(ALICE, BOB)
    assert found.can_unban(ALICE, BOB)
    assert not levels("11", {"users": {BOB: 60}, "kick": 70, "ban": 60}).can_unban(BOB, CAROL)


def test_creators() -> None:
    assert creators(Room("10", create={"creator": BOB}).create) == {BOB}
    assert creators(Room("10", create={"creator": 5}).create) == frozenset()
    assert creators(Room("11", create={"creator": BOB, "additional_creators": [BOB]}).create) == {ALICE}
    assert creators(Room("12", create={"additional_creators": [BOB, CAROL]}).create) == {ALICE, BOB, CAROL}
    assert creators(Room("12", create={"additional_creators": "x"}).create) == {ALICE}


def test_creators_are_above_every_integer() -> None:
    found = levels("12", {"users": {BOB: 2**53 - 1}, "ban": 2**53 - 1})
    assert found.user_level(ALICE) > found.user_level(BOB)
    assert found.can_ban(ALICE, BOB)


def test_no_create_event() -> None:
    with pytest.raises(KeyError):
        power_levels_of({POWER_LEVELS: busy_room("11").state[POWER_LEVELS]})


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (50, 50),
        ("50", 50),
        ("000100", 100),
        ("+100", 100),
        ("-100", -100),
        (" 00100 ", 100),
        (" +100 ", 100),
        ("\t-0\n", 0),
        ("", None),
        (" ", None),
        ("+", None),
        ("+-1", None),
        ("+ 1", None),
        ("1_000", None),
        ("1.0", None),
        ("1e2", None),
        ("0x10", None),
        ("٣", None),
        ("9" * 400, None),
        (True, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_notations(value: object, level: int | None) -> None:
    for version in versions(1, 9):
        assert parse_level(value, ROOM_VERSIONS[version]) == level
    strict = level if not isinstance(value, str) else None
    for version in versions(10):
        assert parse_level(value, ROOM_VERSIONS[version]) == strict


def test_floats() -> None:
    for version in ALL:
        old = int(version) <= 5
        assert parse_level(5.114698e4, ROOM_VERSIONS[version]) == (51146 if old else None)
        assert parse_level(-1.9, ROOM_VERSIONS[version]) == (-1 if old else None)
        for value in (math.inf, -math.inf, math.nan):
            assert parse_level(value, ROOM_VERSIONS[version]) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from(ALL),
)
def test_whatever_the_content_levels_are_numbers(value: Any, version: str) -> None:
    content = dict.fromkeys(
        ("users", "users_default", "events", "state_default", "ban", "notifications"), value
    )
    found = levels(version, content)
    assert isinstance(found.user_level(BOB), int)
    assert isinstance(found.required_level("x", is_state=True), int)
    assert isinstance(found.ban, int)
    assert isinstance(found.notification_level("room"), int)
