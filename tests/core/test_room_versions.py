"""What the room versions differ in, as the specification's pages of them say."""

import pytest

from homeserver.core.room_versions import (
    DEFAULT_ROOM_VERSION,
    ROOM_VERSIONS,
    EventIDFormat,
    RoomRules,
    StateResolution,
    UnknownRoomVersion,
    rules_for,
)

# The versions in which each flag is set, inclusive.
FLAGS = {
    "strict_canonical_json": (6, 12),
    "enforce_key_validity": (5, 12),
    "alias_events_auth": (1, 5),
    "notifications_power_levels": (6, 12),
    "knock": (7, 12),
    "restricted_join": (8, 12),
    "knock_restricted_join": (10, 12),
    "integer_power_levels": (10, 12),
    "field_limits_in_bytes": (11, 12),
    "redacts_in_content": (11, 12),
    "implicit_room_creator": (11, 12),
    "redaction_auth_in_events": (1, 2),
    "privileged_creators": (12, 12),
    "room_id_is_create_hash": (12, 12),
}


def test_every_version_is_there_and_knows_its_name() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    assert all(rules.version == version for version, rules in ROOM_VERSIONS.items())
    assert DEFAULT_ROOM_VERSION in ROOM_VERSIONS


@pytest.mark.parametrize("flag", FLAGS)
def test_flags(flag: str) -> None:
    first, last = FLAGS[flag]
    set_in = [int(version) for version, rules in ROOM_VERSIONS.items() if getattr(rules, flag)]
    assert set_in == list(range(first, last + 1))


def test_every_flag_is_tested() -> None:
    flags = {name for name, kind in RoomRules.__annotations__.items() if kind == "bool"}
    assert flags == set(FLAGS)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_formats_and_algorithms(version: str) -> None:
    number = int(version)
    rules = rules_for(version)
    assert rules.event_id_format is (
        EventIDFormat.SERVER_CHOSEN
        if number < 3
        else EventIDFormat.HASH
        if number == 3
        else EventIDFormat.URL_SAFE_HASH
    )
    assert rules.state_resolution is (
        StateResolution.V1 if number == 1 else StateResolution.V2 if number < 12 else StateResolution.V2_1
    )
    assert rules.max_depth == (2**63 - 1 if number < 6 else 2**53 - 1)


@pytest.mark.parametrize("version", ["", "0", "13", "1 ", "org.matrix.msc1", None, 1, ["1"]])
def test_unknown_versions(version: object) -> None:
    with pytest.raises(UnknownRoomVersion) as unknown:
        rules_for(version)  # type: ignore[arg-type]
    assert isinstance(unknown.value, KeyError)
    assert unknown.value.version == version
    assert str(unknown.value) == f"unknown room version {version!r}"
