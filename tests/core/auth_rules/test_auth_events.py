"""The selection of auth events, and the rule on the `auth_events` field."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.auth_rules import Refusal, auth_keys, authorise, check_auth_events, event_auth_keys
from homeserver.core.events import StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL, DAVE, Room, busy_room, versions

JOIN_RULES: StateKey = ("m.room.join_rules", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def selection(version: str, type: str, state_key: str | None, content: dict[str, Any]) -> set[StateKey]:
    """The auth events of an event that Alice sends, but those that every event has."""
    keys = auth_keys(ROOM_VERSIONS[version], type, ALICE, state_key, content)
    common = {POWER_LEVELS, member(ALICE)} | (set() if version == "12" else {CREATE})
    assert common <= keys
    return set(keys - common)


@pytest.mark.parametrize("version", ALL)
def test_selection(version: str) -> None:
    assert auth_keys(ROOM_VERSIONS[version], "m.room.create", ALICE, "", {}) == frozenset()
    assert selection(version, "m.room.message", None, {}) == set()
    assert selection(version, "m.room.name", "", {"membership": "join"}) == set()
    for membership in ("join", "invite", "knock"):
        chosen = selection(version, "m.room.member", BOB, {"membership": membership})
        assert chosen == {member(BOB), JOIN_RULES}
    for other in ("leave", "ban", "dance", None, ["join"]):
        assert selection(version, "m.room.member", BOB, {"membership": other}) == {member(BOB)}
    assert selection(version, "m.room.member", None, {"membership": "join"}) == set()


@pytest.mark.parametrize("version", ALL)
def test_selection_of_third_party_invites(version: str) -> None:
    invite = {"third_party_invite": {"signed": {"token": "t"}}}
    chosen = selection(version, "m.room.member", BOB, {"membership": "invite", **invite})
    assert chosen == {member(BOB), JOIN_RULES, ("m.room.third_party_invite", "t")}
    assert selection(version, "m.room.member", BOB, {"membership": "leave", **invite}) == {member(BOB)}
    for broken in (None, [], {}, {"signed": 1}, {"signed": {"token": 5}}):
        content = {"membership": "invite", "third_party_invite": broken}
        assert selection(version, "m.room.member", BOB, content) == {member(BOB), JOIN_RULES}


@pytest.mark.parametrize("version", ALL)
def test_selection_of_restricted_joins(version: str) -> None:
    vouched = {"join_authorised_via_users_server": CAROL}
    expected = {member(BOB), JOIN_RULES} | ({member(CAROL)} if int(version) >= 8 else set())
    assert selection(version, "m.room.member", BOB, {"membership": "join", **vouched}) == expected
    assert selection(version, "m.room.member", BOB, {"membership": "ban", **vouched}) == {member(BOB)}
    content = {"membership": "join", "join_authorised_via_users_server": 5}
    assert selection(version, "m.room.member", BOB, content) == {member(BOB), JOIN_RULES}


def judged(room: Room, auth: list[str], rejected: set[str] | None = None, **fields: Any) -> Refusal | None:
    event = room.event("m.room.name", BOB, {"name": "x"}, "", auth=auth, **fields)
    return check_auth_events(event, room.events, rejected or set())


def good(room: Room, *extra: StateKey) -> list[str]:
    keys = [POWER_LEVELS, member(BOB), *extra]
    if not room.rules.room_id_is_create_hash:
        keys.insert(0, CREATE)
    return [room.state[key].event_id for key in keys]


def rule(version: str, part: int) -> str:
    return f"v{version} {3 if version == '12' else 2}.{part}"


@pytest.mark.parametrize("version", ALL)
def test_auth_events(version: str) -> None:
    room = busy_room(version)
    assert judged(room, good(room)) is None
    assert check_auth_events(room.create, {}, set()) is None
    for event in room.events.values():
        assert check_auth_events(event, room.events, set()) is None
        assert event.type == "m.room.create" or event_auth_keys(event)


@pytest.mark.parametrize("version", ALL)
def test_auth_events_refused(version: str) -> None:
    room = busy_room(version)
    fine = good(room)
    another_power_levels = room.event("m.room.power_levels", ALICE, {}, "")
    message = room.event("m.room.message", BOB, {})
    foreign = room.event("m.room.power_levels", ALICE, {}, "", room_id="!another:a.example")
    levels = room.state[POWER_LEVELS].event_id
    cases: list[tuple[list[str], int]] = [
        ([*fine, another_power_levels.event_id], 1),
        ([*fine, levels], 1),
        (good(room, member(CAROL)), 2),
        (good(room, JOIN_RULES), 2),
        ([*fine, message.event_id], 2),
        ([foreign.event_id if event_id == levels else event_id for event_id in fine], 5),
    ]
    for auth, part in cases:
        refusal = judged(room, auth)
        assert refusal is not None
        assert refusal.rule == rule(version, part)
    refusal = judged(room, fine, {levels})
    assert refusal is not None
    assert refusal.rule == rule(version, 3)
    refusal = judged(room, [*fine, "$unknown:a.example"])
    assert refusal is not None
    assert "not known" in refusal.reason


@pytest.mark.parametrize("version", versions(1, 11))
def test_create_event_has_to_be_named(version: str) -> None:
    room = busy_room(version)
    refusal = judged(room, good(room)[1:])
    assert refusal is not None
    assert refusal.rule == f"v{version} 2.4"


def test_create_event_must_not_be_named_v12() -> None:
    room = busy_room("12")
    refusal = judged(room, [*good(room), room.create.event_id])
    assert refusal is not None
    assert refusal.rule == "v12 3.2"


def test_room_id_is_an_accepted_create_event_v12() -> None:
    room = busy_room("12")
    assert judged(room, good(room)) is None
    name = room.event("m.room.name", ALICE, {}, "").event_id
    for refusal in (
        judged(room, good(room), {room.create.event_id}),
        judged(room, [], room_id="!unknown"),
        judged(room, [], room_id="!" + name[1:]),
    ):
        assert refusal is not None
        assert refusal.rule == "v12 2"


def test_nothing_but_the_selection_is_looked_at() -> None:
    # What `authorise` needs of a state is the auth events selection and the create event.
    for version in ALL:
        room = busy_room(version)
        room.join_rule("restricted")
        events = [
            room.membership(DAVE, "join", join_authorised_via_users_server=BOB),
            room.membership(DAVE, "invite", sender=BOB),
            room.membership(CAROL, "ban", sender=BOB),
            room.event("m.room.name", BOB, {}, ""),
            room.event("m.room.power_levels", ALICE, {}, ""),
        ]
        for event in events:
            needed = event_auth_keys(event) | {CREATE}
            part = {key: value for key, value in room.state.items() if key in needed}
            assert authorise(event, part) == authorise(event, room.state)
