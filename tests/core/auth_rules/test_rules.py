"""Each rule of each room version, allowing and refusing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from homeserver.core.auth_rules import authorise
from homeserver.core.auth_rules.refusal import rule_numbers
from homeserver.core.events import Event
from homeserver.core.power_levels import CREATE
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

FOREIGN = "@eve:elsewhere.example"
NAME = "m.room.name"


@dataclass(frozen=True)
class Case:
    """`make` gives the event to be judged by the room's state; `rule` is the refusal, None if allowed.

    `{member}` and the like in `rule` stand for the version's own number.
    """

    name: str
    make: Callable[[Room], Event]
    rule: str | None
    versions: tuple[str, ...] = ALL


def run(case: Case, version: str, room: Room) -> None:
    event = case.make(room)
    refusal = authorise(event, room.state)
    if case.rule is None:
        assert refusal is None, refusal
    else:
        numbers = rule_numbers(ROOM_VERSIONS[version])
        values = {name: getattr(numbers, name) for name in numbers.__slots__}
        assert refusal is not None
        assert refusal.rule == f"v{version} " + case.rule.format(**values)
        assert len(refusal.reason) > 15


def table(cases: list[Case]) -> Any:
    pairs = [(case, version) for case in cases for version in case.versions]
    return pytest.mark.parametrize(
        ("case", "version"), pairs, ids=[f"{case.name}-v{version}" for case, version in pairs]
    )


def after(*steps: Callable[[Room], Any]) -> Callable[[Room], Event]:
    """Does the steps; the last one gives the event."""

    def make(room: Room) -> Event:
        for step in steps[:-1]:
            step(room)
        event: Event = steps[-1](room)
        return event

    return make


def member(user: str, membership: str, **more: Any) -> Callable[[Room], Event]:
    return lambda room: room.membership(user, membership, **more)


def now(user: str, membership: str, sender: str | None = None) -> Callable[[Room], Event]:
    return lambda room: room.member(user, membership, sender=sender)


def rule_is(rule: str) -> Callable[[Room], Event]:
    return lambda room: room.join_rule(rule)


def state_event(type: str, sender: str, key: str | None = "", **content: Any) -> Callable[[Room], Event]:
    return lambda room: room.event(type, sender, content, key)


def first_join(user: str) -> Callable[[Room], Event]:
    def make(room: Room) -> Event:
        room.state = {CREATE: room.create}
        return room.membership(user, "join", prev=[room.create.event_id])

    return make


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


# --- membership ---------------------------------------------------------------------------------------------------

JOIN = [
    Case("creator's first join", first_join(ALICE), None),
    Case("first join of another", first_join(DAVE), "{join}.6", versions(1, 7)),
    Case("first join of another", first_join(DAVE), "{join}.7", versions(8)),
    Case(
        "creator joins later",
        after(rule_is("invite"), now(ALICE, "leave"), member(ALICE, "join")),
        "{join}.6",
        versions(1, 7),
    ),
    Case(
        "creator joins later",
        after(rule_is("invite"), now(ALICE, "leave"), member(ALICE, "join")),
        "{join}.7",
        versions(8),
    ),
    Case("public", member(DAVE, "join"), None),
    Case("for another", member(DAVE, "join", sender=BOB), "{join}.2"),
    Case("banned", after(now(DAVE, "ban", BOB), member(DAVE, "join")), "{join}.3"),
    Case("invited", after(rule_is("invite"), now(DAVE, "invite", BOB), member(DAVE, "join")), None),
    Case("again", after(rule_is("invite"), member(CAROL, "join")), None),
    Case(
        "no join rules",
        after(lambda room: room.state.pop(("m.room.join_rules", "")), member(CAROL, "join")),
        None,
    ),
    Case(
        "private",
        after(rule_is("private"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        "{join}.6",
        versions(1, 7),
    ),
    Case(
        "private",
        after(rule_is("private"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        "{join}.7",
        versions(8),
    ),
    Case("not invited", after(rule_is("invite"), member(DAVE, "join")), "{join}.6", versions(1, 7)),
    Case("not invited", after(rule_is("invite"), member(DAVE, "join")), "{join}.7", versions(8)),
    Case(
        "knock, invited",
        after(rule_is("knock"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        "{join}.6",
        versions(1, 6),
    ),
    Case(
        "knock, invited",
        after(rule_is("knock"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        None,
        versions(7),
    ),
    Case(
        "knock, not invited",
        after(rule_is("knock"), now(DAVE, "knock"), member(DAVE, "join")),
        "{join}.6",
        ("7",),
    ),
    Case(
        "knock, not invited",
        after(rule_is("knock"), now(DAVE, "knock"), member(DAVE, "join")),
        "{join}.7",
        versions(8),
    ),
    Case(
        "restricted, unknown",
        after(rule_is("restricted"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        "{join}.6",
        versions(1, 7),
    ),
    Case(
        "restricted, invited",
        after(rule_is("restricted"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        None,
        versions(8),
    ),
    Case("restricted, joined", after(rule_is("restricted"), member(CAROL, "join")), None, versions(8)),
    Case(
        "restricted, nobody vouches",
        after(rule_is("restricted"), member(DAVE, "join")),
        "{join}.5.2",
        versions(8),
    ),
    Case(
        "knock_restricted",
        after(rule_is("knock_restricted"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        "{join}.7",
        versions(8, 9),
    ),
    Case(
        "knock_restricted",
        after(rule_is("knock_restricted"), now(DAVE, "invite", BOB), member(DAVE, "join")),
        None,
        versions(10),
    ),
    Case("no membership", state_event("m.room.member", DAVE, DAVE), "{member}.1"),
    Case(
        "no state key", lambda room: room.event("m.room.member", DAVE, {"membership": "join"}), "{member}.1"
    ),
    Case("unknown membership", member(DAVE, "dance"), "{unknown_membership}"),
    Case(
        "membership of another type",
        lambda room: room.event("m.room.member", DAVE, {"membership": ["join"]}, DAVE),
        "{unknown_membership}",
    ),
]


@table(JOIN)
def test_join(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


def test_additional_creators_have_to_be_invited() -> None:
    room = Room("12", create={"additional_creators": [BOB]})
    refusal = authorise(room.membership(BOB, "join", prev=[room.create.event_id]), room.state)
    assert refusal is not None
    assert refusal.rule == "v12 5.3.7"


def test_creator_is_of_the_content_before_v11() -> None:
    for version, creator, allowed in (
        ("10", BOB, True),
        ("10", ALICE, False),
        ("11", ALICE, True),
        ("11", BOB, False),
    ):
        room = Room(version, create={"creator": BOB})
        refusal = authorise(room.membership(creator, "join", prev=[room.create.event_id]), room.state)
        assert (refusal is None) == allowed


def vouched(authoriser: Any, *, signed: bool = True, membership: str = "join") -> Callable[[Room], Event]:
    servers = ["a.example"]
    if signed and isinstance(authoriser, str):
        servers.append(authoriser.partition(":")[2])
    return member(
        DAVE,
        membership,
        join_authorised_via_users_server=authoriser,
        signatures={server: {"ed25519:1": "signature"} for server in servers},
    )


RESTRICTED = [
    Case("vouched", vouched(BOB), None),
    Case("signature missing", vouched(BOB, signed=False), "{authorised_join}.1"),
    Case("not a user", vouched("bob"), "{authorised_join}.1"),
    Case("not a string", vouched({"user": BOB}), "{authorised_join}.1"),
    Case("may not invite", vouched(CAROL), "{join}.5.2"),
    Case("not in the room", vouched("@frank:b.example"), "{join}.5.2"),
    Case("banned all the same", after(now(DAVE, "ban", BOB), vouched(BOB)), "{join}.3"),
    Case(
        "checked on any membership",
        after(rule_is("public"), vouched(BOB, signed=False, membership="leave")),
        "{authorised_join}.1",
    ),
    Case(
        "level to invite",
        after(lambda r: r.levels(users={ALICE: 100, BOB: 50}, invite=60), vouched(BOB)),
        "{join}.5.2",
    ),
]


@table([Case(c.name, c.make, c.rule, versions(8)) for c in RESTRICTED])
def test_restricted_join(case: Case, version: str) -> None:
    for rule in ("restricted", "knock_restricted") if int(version) >= 10 else ("restricted",):
        room = busy_room(version)
        room.join_rule(rule)
        run(case, version, room)


def test_the_key_means_nothing_before_v8() -> None:
    room = busy_room("7")
    assert authorise(vouched(BOB, signed=False)(room), room.state) is None


INVITE = [
    Case("by a moderator", member(DAVE, "invite", sender=BOB), None),
    Case("by an outsider", member(DAVE, "invite", sender=FOREIGN), "{invite}.2"),
    Case("of a member", member(CAROL, "invite", sender=BOB), "{invite}.3"),
    Case("of a banned user", after(now(DAVE, "ban", BOB), member(DAVE, "invite", sender=BOB)), "{invite}.3"),
    Case("without the level", member(DAVE, "invite", sender=CAROL), "{invite}.5"),
    Case("level 0 by default", after(lambda room: room.levels(), member(DAVE, "invite", sender=CAROL)), None),
    Case("after a knock", after(now(DAVE, "knock"), member(DAVE, "invite", sender=BOB)), None),
    Case("once more", after(now(DAVE, "invite", BOB), member(DAVE, "invite", sender=ALICE)), None),
]


@table(INVITE)
def test_invite(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


LEAVE = [
    Case("leave", member(CAROL, "leave"), None),
    Case("decline", after(now(DAVE, "invite", BOB), member(DAVE, "leave")), None),
    Case("never there", member(DAVE, "leave"), "{leave}.1"),
    Case("twice", after(now(CAROL, "leave"), member(CAROL, "leave")), "{leave}.1"),
    Case("out of a ban", after(now(CAROL, "ban", BOB), member(CAROL, "leave")), "{leave}.1"),
    Case("take back a knock", after(now(DAVE, "knock"), member(DAVE, "leave")), "{leave}.1", versions(1, 6)),
    Case("take back a knock", after(now(DAVE, "knock"), member(DAVE, "leave")), None, versions(7)),
    Case("kick", member(CAROL, "leave", sender=BOB), None),
    Case("kick by an outsider", member(CAROL, "leave", sender=FOREIGN), "{leave}.2"),
    Case("kick without the level", member(BOB, "leave", sender=CAROL), "{leave}.5"),
    Case("kick upwards", member(ALICE, "leave", sender=BOB), "{leave}.5"),
    Case(
        "kick among equals",
        after(lambda room: room.levels(kick=0), member(BOB, "leave", sender=CAROL)),
        "{leave}.5",
    ),
    Case("unban", after(now(DAVE, "ban", BOB), member(DAVE, "leave", sender=BOB)), None),
    Case(
        "unban without the ban level",
        after(
            lambda room: room.levels(users={ALICE: 100, BOB: 50}, ban=60),
            now(DAVE, "ban", ALICE),
            member(DAVE, "leave", sender=BOB),
        ),
        "{leave}.3",
    ),
    Case(
        "unban without the kick level",
        after(
            lambda room: room.levels(users={ALICE: 100, BOB: 50}, kick=60),
            now(DAVE, "ban", ALICE),
            member(DAVE, "leave", sender=BOB),
        ),
        "{leave}.5",
    ),
    Case("ban", member(CAROL, "ban", sender=BOB), None),
    Case("ban ahead", member(DAVE, "ban", sender=BOB), None),
    Case("ban by an outsider", member(CAROL, "ban", sender=FOREIGN), "{ban}.1"),
    Case("ban without the level", member(DAVE, "ban", sender=CAROL), "{ban}.3"),
    Case("ban upwards", member(ALICE, "ban", sender=BOB), "{ban}.3"),
    Case("ban oneself", member(BOB, "ban"), "{ban}.3"),
]


@table(LEAVE)
def test_leave_kick_ban(case: Case, version: str) -> None:
    run(case, version, busy_room(version))


KNOCK = [
    Case("knock", after(rule_is("knock"), member(DAVE, "knock")), None, versions(7)),
    Case(
        "knock before v7",
        after(rule_is("knock"), member(DAVE, "knock")),
        "{unknown_membership}",
        versions(1, 6),
    ),
    Case("on a public room", member(DAVE, "knock"), "{knock}.1", versions(7)),
    Case("for another", after(rule_is("knock"), member(DAVE, "knock", sender=BOB)), "{knock}.2", versions(7)),
    Case("when in", after(rule_is("knock"), member(CAROL, "knock")), "{knock}.4", versions(7)),
    Case(
        "when banned",
        after(rule_is("knock"), now(DAVE, "ban", BOB), member(DAVE, "knock")),
        "{knock}.4",
        versions(7),
    ),
    Case(
        "when invited",
        after(rule_is("knock"), now(DAVE, "invite", BOB), member(DAVE, "knock")),
        "{knock}.4",
        versions(7),
    ),
    Case("again", after(rule_is("knock"), now(DAVE, "knock"), member(DAVE, "knock")), None, versions(7)),
    Case(
        "knock_restricted",
        after(rule_is("knock_restricted"), member(DAVE, "knock")),
        "{knock}.1",
        versions(7, 9),
    ),
    Case("knock_restricted", after(rule_is("knock_restricted"), member(DAVE, "knock")), None, versions(10)),
]


@table(KNOCK)
def test_knock(case: Case, version: str) -> None:
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
