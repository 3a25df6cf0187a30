"""Each rule of each room version but those on memberships and power levels, allowing and refusing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from homeserver.core.auth_rules import authorise
from homeserver.core.auth_rules.refusal import rule_numbers
from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.auth_rules.builder import (
    ALICE,
    ALL,
    BOB,
    CAROL,
    DAVE,
    Room,
    busy_room,
    versions,
    without_create,
)
from tests.core.auth_rules.cases import (
    FOREIGN,
    NAME,
    Case,
    after,
    now,
    run,
    state_event,
    table,
)

# --- the create event ---------------------------------------------------------------------------------------------


def create(
    version: str, *, sender: str = ALICE, prev: tuple[str, ...] = (), drop: str = "", **changes: Any
) -> Any:
    room = Room(version)
    content = {**room.create.content, **changes}
    content.pop(drop, None)
    room.room_id = "" if room.rules.room_id_is_create_hash else room.room_id
    return authorise(room.event("m.room.create", sender, content, "", prev=prev), {})


@pytest.mark.parametrize("version", ALL)
def test_create(version: str) -> None:
    assert create(version) is None
    assert create(version, drop="room_version") is None
    assert create(version, prev=("$x:a",)).rule == f"v{version} 1.1"
    for unknown in ("999", None, 11, ["11"]):
        assert create(version, room_version=unknown).rule == f"v{version} 1.3"
    another = "11" if version != "11" else "10"
    assert create(version, room_version=another).rule == f"v{version} 1.3"


@pytest.mark.parametrize("version", versions(1, 11))
def test_create_of_another_servers_room(version: str) -> None:
    assert create(version, sender=BOB).rule == f"v{version} 1.2"


def test_create_with_a_room_id_v12() -> None:
    room = Room("12")
    event = room.event("m.room.create", ALICE, {}, "", prev=(), room_id="!x")
    refusal = authorise(event, {})
    assert refusal is not None
    assert refusal.rule == "v12 1.2"
    assert create("12", sender=BOB) is None


@pytest.mark.parametrize("version", ALL)
def test_create_without_creator(version: str) -> None:
    refusal = create(version, drop="creator")
    if int(version) <= 10:
        assert refusal.rule == f"v{version} 1.4"
    else:
        assert refusal is None


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ([], True),
        ([BOB, "@UPPER case:b.example"], True),
        (None, False),
        ("@bob:b.example", False),
        ([BOB, "bob"], False),
        ([BOB, 7], False),
        ([["@bob:b.example"]], False),
        ({BOB: 1}, False),
    ],
)
def test_additional_creators(value: Any, allowed: bool) -> None:
    refusal = create("12", additional_creators=value)
    assert (refusal is None) == allowed
    if refusal is not None:
        assert refusal.rule == "v12 1.4"
    assert create("11", additional_creators=value) is None


# --- the room -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
def test_without_create_event(version: str) -> None:
    room = busy_room(version)
    refusal = authorise(room.event(NAME, ALICE, {}, ""), without_create(room.state))
    assert refusal is not None
    assert refusal.rule == f"v{version} " + ("2" if version == "12" else "2.4")


def test_room_id_is_the_create_events_v12() -> None:
    room = busy_room("12")
    refusal = authorise(room.event(NAME, ALICE, {}, "", room_id="!" + "x" * 43), room.state)
    assert refusal is not None
    assert refusal.rule == "v12 2"


@pytest.mark.parametrize("version", ALL)
def test_federate(version: str) -> None:
    closed = busy_room(version, **{"m.federate": False})
    assert authorise(closed.event(NAME, ALICE, {}, ""), closed.state) is None
    assert authorise(closed.membership(DAVE, "join"), closed.state) is None
    refusal = authorise(closed.membership(FOREIGN, "join"), closed.state)
    assert refusal is not None
    assert refusal.rule == f"v{version} " + ("4" if version == "12" else "3")
    for value in (True, "false", 0, None):
        room = busy_room(version, **{"m.federate": value})
        assert authorise(room.membership(FOREIGN, "join"), room.state) is None


ALIASES = [
    Case(
        "aliases of the own server",
        state_event("m.room.aliases", FOREIGN, "elsewhere.example"),
        None,
        versions(1, 5),
    ),
    Case(
        "aliases of another", state_event("m.room.aliases", BOB, "a.example"), "{aliases}.2", versions(1, 5)
    ),
    Case("aliases without key", state_event("m.room.aliases", BOB, None), "{aliases}.1", versions(1, 5)),
    Case(
        "aliases by an outsider",
        state_event("m.room.aliases", FOREIGN, "elsewhere.example"),
        "{sender_joined}",
        versions(6),
    ),
    Case(
        "aliases need a level",
        state_event("m.room.aliases", CAROL, "c.example"),
        "{required_level}",
        versions(6),
    ),
    Case("aliases of any server", state_event("m.room.aliases", BOB, "a.example"), None, versions(6)),
]


@table(ALIASES)
def test_aliases(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


# --- all other events -----------------------------------------------------------------------------------------------

OTHERS = [
    Case("message", state_event("m.room.message", CAROL, None, body="hi"), None),
    Case("by an outsider", state_event("m.room.message", FOREIGN, None, body="hi"), "{sender_joined}"),
    Case(
        "by an invited user",
        after(now(DAVE, "invite", BOB), state_event("m.room.message", DAVE, None)),
        "{sender_joined}",
    ),
    Case("name", state_event(NAME, BOB), None),
    Case("name without the level", state_event(NAME, CAROL), "{required_level}"),
    Case("level of a type", after(lambda r: r.levels(events={NAME: 0}), state_event(NAME, CAROL)), None),
    Case(
        "level of a message type",
        after(
            lambda r: r.levels(users={ALICE: 100}, events={"m.poll": 1}), state_event("m.poll", CAROL, None)
        ),
        "{required_level}",
    ),
    Case(
        "events_default",
        after(
            lambda r: r.levels(users={ALICE: 100}, events_default=1),
            state_event("m.room.message", CAROL, None),
        ),
        "{required_level}",
    ),
    Case("state_default", after(lambda r: r.levels(state_default=0), state_event(NAME, CAROL)), None),
    Case("own user key", after(lambda r: r.levels(state_default=0), state_event("x", CAROL, CAROL)), None),
    Case("another's user key", state_event("x", ALICE, CAROL), "{user_state_key}"),
    Case("a key like a user's", state_event("x", ALICE, "@"), "{user_state_key}"),
    Case("offer to a third party", state_event("m.room.third_party_invite", BOB, "token"), None),
    Case(
        "offer without the level",
        state_event("m.room.third_party_invite", CAROL, "token"),
        "{third_party_invite}.1",
    ),
    Case(
        "offer is not under state_default",
        after(
            lambda r: r.levels(state_default=100), state_event("m.room.third_party_invite", CAROL, "token")
        ),
        None,
    ),
    Case(
        "without power levels the creator has 100",
        after(lambda r: r.state.pop(("m.room.power_levels", "")), state_event(NAME, ALICE)),
        None,
    ),
    Case(
        "without power levels others have 0",
        after(lambda r: r.state.pop(("m.room.power_levels", "")), state_event(NAME, BOB)),
        "{required_level}",
    ),
]


@table(OTHERS)
def test_other_events(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


def redaction(sender: str, redacts: str) -> Callable[[Room], Event]:
    def make(room: Room) -> Event:
        if room.rules.redacts_in_content:
            return room.event("m.room.redaction", sender, {"redacts": redacts})
        return room.event("m.room.redaction", sender, redacts=redacts)

    return make


REDACTIONS = [
    Case("by level", redaction(BOB, "$1:a.example"), None),
    Case("of the own server", redaction(CAROL, "$1:c.example"), None),
    Case("of another server", redaction(CAROL, "$1:a.example"), "{redaction}.3", versions(1, 2)),
    Case("of another server", redaction(CAROL, "$1:a.example"), None, versions(3)),
    Case("of nothing", state_event("m.room.redaction", CAROL, None), "{redaction}.3", versions(1, 2)),
    Case(
        "required level",
        after(
            lambda r: r.levels(users={ALICE: 100}, events={"m.room.redaction": 1}),
            redaction(CAROL, "$1:c.example"),
        ),
        "{required_level}",
    ),
]


@table(REDACTIONS)
def test_redaction(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


def test_creators_are_above_all_v12() -> None:
    room = busy_room("12", additional_creators=[BOB])
    room.send("m.room.power_levels", ALICE, {"users": {CAROL: 2**53 - 1}, "events": {NAME: 2**53 - 1}}, "")
    for creator in (ALICE, BOB):
        assert authorise(room.event(NAME, creator, {}, ""), room.state) is None
        assert authorise(room.membership(CAROL, "ban", sender=creator), room.state) is None
        refusal = authorise(room.membership(creator, "leave", sender=CAROL), room.state)
        assert refusal is not None
        assert refusal.rule == "v12 5.5.5"
    # One creator is not above another.
    refusal = authorise(room.membership(BOB, "ban", sender=ALICE), room.state)
    assert refusal is not None
    assert refusal.rule == "v12 5.6.3"


def test_numbers_are_those_of_the_texts() -> None:
    expected = {
        "1": ("4", "5.2", "", "10", "11"),
        "2": ("4", "5.2", "", "10", "11"),
        "3": ("4", "5.2", "", "10", ""),
        "5": ("4", "5.2", "", "10", ""),
        "6": ("", "4.2", "", "9", ""),
        "7": ("", "4.2", "4.6", "9", ""),
        "8": ("", "4.3", "4.7", "9", ""),
        "11": ("", "4.3", "4.7", "9", ""),
        "12": ("", "5.3", "5.7", "10", ""),
    }
    for version, texts in expected.items():
        numbers = rule_numbers(ROOM_VERSIONS[version])
        assert (
            numbers.aliases,
            numbers.join,
            numbers.knock,
            numbers.power_levels,
            numbers.redaction,
        ) == texts
