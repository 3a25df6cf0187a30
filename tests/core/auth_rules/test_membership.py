"""The rules on memberships in each room version, allowing and refusing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homeserver.core.auth_rules import authorise
from homeserver.core.events import Event
from tests.core.auth_rules.builder import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Room,
    busy_room,
    versions,
)
from tests.core.auth_rules.cases import (
    FOREIGN,
    Case,
    after,
    first_join,
    member,
    now,
    rule_is,
    run,
    state_event,
    table,
)

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


def test_why_nobody_removes_a_creator() -> None:
    room = Room("12", create={"additional_creators": [BOB]})
    room.member(ALICE, "join")
    room.member(BOB, "join")
    for membership, doing in (("leave", "removing"), ("ban", "banning")):
        refusal = authorise(room.membership(BOB, membership, sender=ALICE), room.state)
        assert refusal is not None
        assert (
            refusal.reason == f"{BOB} is a creator of the room, and nobody's power allows {doing} a creator"
        )


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
