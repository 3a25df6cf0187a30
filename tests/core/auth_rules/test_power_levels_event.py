"""The rule on m.room.power_levels, in every room version."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.auth_rules import Refusal, authorise
from homeserver.core.auth_rules.refusal import rule_numbers
from homeserver.core.power_levels import POWER_LEVELS
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL, Room, busy_room, versions

BASE: dict[str, Any] = {
    "users": {ALICE: 100, BOB: 50},
    "users_default": 0,
    "events": {"m.room.name": 50, "m.room.power_levels": 50, "high": 80},
    "notifications": {"room": 50, "high": 80},
    "kick": 80,
}


def attempt(
    version: str, sender: str, changes: dict[str, Any], base: dict[str, Any] | None = None
) -> Refusal | None:
    """What becomes of power levels that differ from the base by `changes` (a value of ... removes the property)."""
    room = busy_room(version)
    base = BASE if base is None else base
    room.levels(**base)
    content = {name: value for name, value in {**base, **changes}.items() if value is not ...}
    return authorise(room.event("m.room.power_levels", sender, room.without_creator(content), ""), room.state)


def number(version: str, part: str) -> str:
    rules = Room(version).rules
    return f"v{version} {rule_numbers(rules).power_levels}.{part}"


# The parts of the rule in the three forms that its text has had, in the order of the oldest.
def part(version: str, oldest: int) -> str:
    """The number that a part of the rule, numbered as in version 1, has in this version."""
    return str(oldest + (0 if int(version) < 10 else 2 if int(version) < 12 else 3))


@pytest.mark.parametrize("version", ALL)
def test_allowed(version: str) -> None:
    assert attempt(version, ALICE, {}) is None
    assert attempt(version, BOB, {}) is None
    assert attempt(version, ALICE, {"users": {ALICE: 100, BOB: 99}, "kick": 20}) is None
    assert attempt(version, BOB, {"users": {ALICE: 100, BOB: 50, CAROL: 50}, "ban": 50}) is None
    assert attempt(version, BOB, {"users": {ALICE: 100, BOB: 0}}) is None, "one can lower oneself"
    assert attempt(version, BOB, {"users": {ALICE: 100}}) is None
    assert attempt(version, BOB, {"events": {"m.room.power_levels": 50, "high": 80, "new": 50}}) is None


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("oldest", "sub", "changes"),
    [
        (3, 1, {"kick": ...}),
        (3, 1, {"kick": 10}),
        (3, 2, {"ban": 51}),
        (3, 2, {"users_default": 51}),
        (3, 2, {"events_default": 51}),
        (3, 2, {"state_default": 51}),
        (3, 2, {"redact": 51}),
        (3, 2, {"invite": 51}),
        (4, 1, {"events": ...}),
        (4, 1, {"events": {**BASE["events"], "high": 10}}),
        (5, 1, {"events": {**BASE["events"], "new": 51}}),
        (5, 1, {"events": {**BASE["events"], "m.room.name": 51}}),
        (7, 1, {"users": {ALICE: 100, BOB: 50, CAROL: 51}}),
        (7, 1, {"users": {ALICE: 100, BOB: 51}}),
    ],
)
def test_above_ones_own_level(version: str, oldest: int, sub: int, changes: dict[str, Any]) -> None:
    refusal = attempt(version, BOB, changes)
    assert refusal is not None
    assert refusal.rule == number(version, f"{part(version, oldest)}.{sub}")


@pytest.mark.parametrize("version", ALL)
def test_users_at_ones_own_level_cannot_be_changed(version: str) -> None:
    base = {**BASE, "users": {ALICE: 100, BOB: 50, CAROL: 50}}
    for users in ({ALICE: 100, BOB: 50}, {ALICE: 100, BOB: 50, CAROL: 49}):
        refusal = attempt(version, BOB, {"users": users}, base)
        assert refusal is not None
        assert refusal.rule == number(version, f"{part(version, 6)}.1")


@pytest.mark.parametrize("version", ALL)
def test_notifications_are_guarded_since_v6(version: str) -> None:
    for oldest, changed in (
        (4, {"room": 50}),
        (4, {"room": 50, "high": 1}),
        (5, {**BASE["notifications"], "new": 51}),
    ):
        refusal = attempt(version, BOB, {"notifications": changed})
        if int(version) < 6:
            assert refusal is None
        else:
            assert refusal is not None
            assert refusal.rule == number(version, f"{part(version, oldest)}.1")


@pytest.mark.parametrize("version", ALL)
def test_required_level_comes_first(version: str) -> None:
    refusal = attempt(version, CAROL, {})
    assert refusal is not None
    assert refusal.rule == f"v{version} {rule_numbers(Room(version).rules).required_level}"


@pytest.mark.parametrize("version", ALL)
def test_first_power_levels_can_be_anything_well_formed(version: str) -> None:
    room = busy_room(version)
    del room.state[POWER_LEVELS]
    content = room.without_creator({"users": {ALICE: 100, BOB: 1000}, "ban": 2000})
    assert authorise(room.event("m.room.power_levels", ALICE, content, ""), room.state) is None
    refusal = authorise(room.event("m.room.power_levels", ALICE, {"users": {"bob": 1}}, ""), room.state)
    assert refusal is not None


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    "users",
    [[], "x", None, 5, {"bob": 1}, {BOB: None}, {BOB: "ten"}, {BOB: True}, {BOB: [1]}, {BOB: "1.5"}, {"": 1}],
)
def test_users_malformed(version: str, users: Any) -> None:
    refusal = attempt(version, ALICE, {"users": users})
    assert refusal is not None
    assert refusal.rule == number(version, "1" if int(version) < 10 else "3")


@pytest.mark.parametrize("version", ALL)
def test_strings_up_to_v9(version: str) -> None:
    changes = {"users": {ALICE: 100, BOB: "  +050 "}, "ban": "-5", "events": {**BASE["events"], "x": "10"}}
    for name, value in changes.items():
        refusal = attempt(version, ALICE, {name: value})
        if int(version) < 10:
            assert refusal is None
        else:
            assert refusal is not None
            assert refusal.rule == number(version, {"ban": "1", "events": "2", "users": "3"}[name])
    if int(version) < 10:
        # The same level in another notation is no change, whoever writes it.
        assert attempt(version, BOB, {"kick": " 080"}) is None


@pytest.mark.parametrize("version", versions(1, 5))
def test_floats_up_to_v5(version: str) -> None:
    assert attempt(version, ALICE, {"users": {ALICE: 100.9, BOB: 5.0698e1}, "ban": 12.5}) is None
    assert attempt(version, BOB, {"kick": 80.99}) is None
    assert attempt(version, BOB, {"ban": 50.99}) is None
    assert attempt(version, BOB, {"ban": 51.0}) is not None
    for value in (float("inf"), float("-inf"), float("nan")):
        refusal = attempt(version, ALICE, {"ban": value})
        assert refusal is not None
        assert refusal.rule == number(version, "1")


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("changes", "strict_part"),
    [
        ({"ban": "x"}, "1"),
        ({"state_default": []}, "1"),
        ({"invite": True}, "1"),
        ({"events": []}, "2"),
        ({"events": {"x": "y"}}, "2"),
        ({"notifications": 5}, "2"),
        ({"notifications": {"room": {}}}, "2"),
    ],
)
def test_not_levels(version: str, changes: dict[str, Any], strict_part: str) -> None:
    refusal = attempt(version, ALICE, changes)
    assert refusal is not None
    assert refusal.rule == number(version, strict_part if int(version) >= 10 else "1")


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("changes", [{"ban": None}, {"events": None}, {"notifications": {"room": None}}])
def test_null_is_absent_up_to_v9(version: str, changes: dict[str, Any]) -> None:
    assert (attempt(version, ALICE, changes) is None) == (int(version) < 10)


def test_creators_cannot_be_named_v12() -> None:
    for creator in (ALICE, BOB):
        room = busy_room("12", additional_creators=[BOB])
        refusal = authorise(
            room.event("m.room.power_levels", ALICE, {"users": {creator: 100}}, ""), room.state
        )
        assert refusal is not None
        assert refusal.rule == "v12 10.4"
        assert creator in refusal.reason
    room = busy_room("12")
    assert authorise(room.event("m.room.power_levels", ALICE, {}, ""), room.state) is None


@pytest.mark.parametrize("version", versions(1, 9))
def test_endless_digits_are_refused_quickly(version: str) -> None:
    assert attempt(version, ALICE, {"ban": "9" * 60_000}) is not None
    assert attempt(version, ALICE, {"ban": "0" * 60_000 + "x"}) is not None
    assert attempt(version, ALICE, {"ban": "0" * 60_000}) is None
