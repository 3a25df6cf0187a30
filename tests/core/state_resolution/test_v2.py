"""Versions 2 and 2.1 of the algorithm on known histories, on hostile ones, and what they ask for."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from homeserver.core.events import Event, StateKey
from homeserver.core.state_resolution import CitedBy, resolve
from homeserver.core.state_resolution.auth_chains import AuthChains
from homeserver.core.state_resolution.conflicts import divide
from homeserver.core.state_resolution.ordering import reverse_topological_power_ordering
from homeserver.core.state_resolution.steps import EventPool
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL, DAVE, Room, busy_room, versions
from tests.core.state_resolution.driver import Loader, resolved, resolved_by_difference

NAME, LEVELS, JOIN_RULES = ("m.room.name", ""), ("m.room.power_levels", ""), ("m.room.join_rules", "")


def with_(room: Room, *events: Event) -> dict[StateKey, str]:
    """The room's state with these events applied."""
    return room.ids() | {event.key: event.event_id for event in events}


def both_ways(room: Room, one: dict[StateKey, str], two: dict[StateKey, str]) -> dict[StateKey, str]:
    result = resolved(room.rules, [one, two], room.events)
    assert resolved(room.rules, [two, one], room.events) == result
    return result


@pytest.mark.parametrize("version", ALL)
def test_nothing_to_resolve(version: str) -> None:
    room = busy_room(version)
    loader = Loader(room.events)
    assert loader.drive(resolve(room.rules, [])) == {}
    assert loader.drive(resolve(room.rules, [room.ids()])) == room.ids()
    assert loader.drive(resolve(room.rules, [room.ids(), room.ids()])) == room.ids()
    assert loader.requests == []


@pytest.mark.parametrize("version", versions(2))
def test_a_ban_beats_what_the_banned_user_does_meanwhile(version: str) -> None:
    # The example of the server-server API's section on soft failure.
    room = busy_room(version)
    ban = room.event("m.room.member", ALICE, {"membership": "ban"}, BOB, ts=1000)
    name = room.event("m.room.name", BOB, {"name": "evading"}, "", ts=1)
    result = both_ways(room, with_(room, ban), with_(room, name))
    assert result[ban.key] == ban.event_id
    assert NAME not in result


@pytest.mark.parametrize("version", versions(2))
def test_a_demotion_beats_what_the_demoted_user_does_meanwhile(version: str) -> None:
    room = busy_room(version)
    content = room.without_creator({"users": {ALICE: 100}})
    demotion = room.event("m.room.power_levels", ALICE, content, "", ts=1000)
    name = room.event("m.room.name", BOB, {}, "", ts=1)
    kick = room.event("m.room.member", BOB, {"membership": "leave"}, CAROL, ts=2)
    result = both_ways(room, with_(room, demotion), with_(room, name, kick))
    assert result[LEVELS] == demotion.event_id
    assert result[kick.key] == room.ids()[kick.key]
    assert NAME not in result


@pytest.mark.parametrize("version", versions(2))
def test_the_later_of_two_names_wins(version: str) -> None:
    room = busy_room(version)
    early, late = (room.event("m.room.name", BOB, {}, "", ts=ts) for ts in (100, 200))
    assert both_ways(room, with_(room, late), with_(room, early))[NAME] == late.event_id


@pytest.mark.parametrize("version", versions(2, 11))
def test_mainline_position_comes_before_time(version: str) -> None:
    room = busy_room(version)
    early = room.event("m.room.name", BOB, {}, "", ts=1000)
    room.levels(users={ALICE: 100, BOB: 50}, invite=11)
    late = room.event("m.room.name", BOB, {}, "", ts=1)
    assert both_ways(room, with_(room, early), with_(room, late))[NAME] == late.event_id


@pytest.mark.parametrize("version", versions(2))
def test_joins_on_both_sides(version: str) -> None:
    room = busy_room(version)
    one, two = room.membership(DAVE, "join"), room.membership("@erin:e.example", "join")
    assert both_ways(room, with_(room, one), with_(room, two)) == with_(room, one, two)


# --- the problems that version 2.1 solves ---------------------------------------------------------------------------


def problem_a(version: str) -> tuple[Room, dict[StateKey, str], Event]:
    """Alice sets the join rules twice and leaves; one state was fetched with the older join rules.

    Spec: MSC4297, problem A.
    """
    room = busy_room(version)
    outdated = room.join_rule("invite")
    latest = room.join_rule("public")
    room.member(ALICE, "leave")
    return room, with_(room, outdated), latest


@pytest.mark.parametrize("version", versions(2, 11))
def test_problem_a_before_v12(version: str) -> None:
    room, outdated, _ = problem_a(version)
    assert JOIN_RULES not in both_ways(room, room.ids(), outdated)


def test_problem_a_is_solved_in_v12() -> None:
    room, outdated, latest = problem_a("12")
    assert both_ways(room, room.ids(), outdated)[JOIN_RULES] == latest.event_id


def problem_b(version: str) -> tuple[Room, dict[StateKey, str], Event, Event]:
    """Alice promotes Bob, then Bob promotes Carol; one state was fetched with the oldest power levels.

    Spec: MSC4297, problem B.
    """
    room = busy_room(version)
    outdated = room.levels(users={ALICE: 100})
    room.levels(users={ALICE: 100, BOB: 90})
    latest = room.levels(BOB, users={ALICE: 100, BOB: 90, CAROL: 80})
    # Both sides have events that know of all of this by their auth chains.
    room.send("m.room.topic", CAROL, {}, "")
    return room, with_(room, outdated), outdated, latest


@pytest.mark.parametrize("version", versions(2, 11))
def test_problem_b_before_v12(version: str) -> None:
    room, state, outdated, _ = problem_b(version)
    assert both_ways(room, room.ids(), state)[LEVELS] == outdated.event_id


def test_problem_b_is_solved_in_v12() -> None:
    room, state, _, latest = problem_b("12")
    assert both_ways(room, room.ids(), state)[LEVELS] == latest.event_id


# --- definitions that random histories hardly meet -------------------------------------------------------------------


def test_order_holds_by_way_of_events_that_are_not_ordered() -> None:
    room = busy_room("11")
    old = room.event("m.room.topic", CAROL, {}, "", ts=900, auth=[room.create.event_id])
    between = room.event("m.room.topic", CAROL, {}, "", ts=800, auth=[old.event_id])
    new = room.event("m.room.topic", CAROL, {}, "", ts=1, auth=[between.event_id])
    pool = EventPool()
    pool.events = room.events
    ordered = reverse_topological_power_ordering(pool, [new.event_id, old.event_id])
    assert ordered == [old, new]


@pytest.mark.parametrize("version", ["2", "11", "12"])
def test_rejected_events_authorise_nothing(version: str) -> None:
    room = busy_room(version)
    room.levels(users={ALICE: 100}, state_default=0)
    room.join_rule("invite")
    join = room.membership(DAVE, "join")  # not allowed, and not in any of the states
    name = room.event("m.room.name", DAVE, {}, "", state={**room.state, join.key: join})
    sets = [with_(room, name), room.ids()]
    assert resolved(room.rules, sets, room.events)[NAME] == name.event_id
    assert NAME not in resolved(room.rules, sets, room.events, rejected={join.event_id})


@pytest.mark.parametrize("version", ["2", "12"])
def test_rejected_is_looked_at_after_loading(version: str) -> None:
    room = busy_room(version)
    room.levels(users={ALICE: 100}, state_default=0)
    room.join_rule("invite")
    join = room.membership(DAVE, "join")
    name = room.event("m.room.name", DAVE, {}, "", state={**room.state, join.key: join})
    rejected: set[str] = set()

    class Noting(Loader):
        def answer(self, request: Collection[str]) -> Mapping[str, Any]:
            rejected.update({join.event_id} & set(request))
            return super().answer(request)

    steps = resolve(room.rules, [with_(room, name), room.ids()], rejected=rejected)
    assert NAME not in Noting(room.events).drive(steps)


# --- cost ---------------------------------------------------------------------------------------------------------


def large_room(version: str, members: int = 3000) -> Room:
    room = busy_room(version)
    for number in range(members):
        room.member(f"@user{number}:x.example", "join")
    return room


@pytest.mark.parametrize("version", ["11", "12"])
def test_joins_on_both_sides_of_a_large_room_load_little(version: str) -> None:
    room = large_room(version)
    one, two = room.membership(DAVE, "join"), room.membership("@erin:e.example", "join")
    loader = Loader(room.events)
    loader.drive(resolve(room.rules, [with_(room, one), with_(room, two)]))
    assert len(loader.asked) < 20
    assert len(loader.requests) < 6


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_two_topics_in_a_large_room_need_few_of_its_entries(version: str) -> None:
    room = large_room(version)
    one, two = (
        room.event("m.room.topic", ALICE, {}, ""),
        room.event("m.room.topic", ALICE, {"topic": "x"}, ""),
    )
    sets = [with_(room, one), with_(room, two)]
    found, asked = resolved_by_difference(room.rules, sets, room.events)
    assert found == resolved(room.rules, sets, room.events)
    assert None not in asked and sum(len(keys or ()) for keys in asked) < 10


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize("cited", [False, True])
def test_asking_who_cites_whom_saves_loading_a_large_room(version: str, cited: bool) -> None:
    room = large_room(version)
    room.levels(users={ALICE: 100, BOB: 50, CAROL: 50})
    # Carol's membership is in all auth chains if a third event, somewhere in the state, cites it.
    if cited:
        room.send("m.widget", CAROL, {}, "widget")
    one, two = room.event("m.room.name", BOB, {}, ""), room.event("m.room.name", CAROL, {}, "")
    sets = [with_(room, one), with_(room, two)]
    plain, asking = Loader(room.events), Loader(room.events)
    expected = plain.drive(resolve(room.rules, sets))
    assert asking.drive(resolve(room.rules, sets, citing=True)) == expected
    assert expected[NAME] == two.event_id
    assert any(isinstance(request, CitedBy) for request in asking.requests)
    assert len(asking.asked) < 150 < len(plain.asked)
    assert len(plain.requests) < 12


def found_open(room: Room, *events: Event, citing: bool) -> set[str]:
    """The full conflicted set, but for the events in conflict."""
    sets = [with_(room, event) for event in events]
    chains = AuthChains(EventPool(), divide(sets))
    steps = chains.full_conflicted_set(subgraph=False, citing=citing)
    return Loader(room.events).drive(steps) - {event.event_id for event in events}


@pytest.mark.parametrize("version", ["2", "12"])
@pytest.mark.parametrize("citing", [False, True])
def test_what_the_unconflicted_state_cites_from_afar_is_no_difference(version: str, citing: bool) -> None:
    room = large_room(version, 300)
    room.levels(users={ALICE: 100, BOB: 50, CAROL: 50})
    # Her membership before this one is in the chain of this one, which is in every state.
    again = room.member(CAROL, "join").event_id
    one, two = room.event("m.room.name", ALICE, {}, ""), room.event("m.room.name", CAROL, {}, "")
    assert found_open(room, one, two, citing=citing) == {again}
    # Frank is in the state; his invite by Carol is not, but it stands between him and Carol's membership.
    room.member("@frank:f.example", "invite", sender=CAROL)
    room.member("@frank:f.example", "join")
    assert found_open(room, one, two, citing=citing) == set()


# --- hostile histories ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2", "11", "12"])
def test_chains_as_deep_as_they_like(version: str) -> None:
    room = busy_room(version)
    first = room.event("m.room.power_levels", ALICE, room.without_creator({"users": {ALICE: 100}}), "")
    last = first
    depth = 3 * sys.getrecursionlimit()
    for number in range(depth):
        last = room.event(
            "m.room.power_levels", ALICE, last.content, "", auth=_with_create(room, last), ts=number
        )
    assert len(room.events) > depth
    started = time.monotonic()
    result = both_ways(room, with_(room, last), with_(room, first))
    assert result[LEVELS] in (first.event_id, last.event_id)
    assert time.monotonic() - started < 10


def _with_create(room: Room, *events: Event) -> list[str]:
    member = room.state["m.room.member", ALICE]
    create = [] if room.rules.room_id_is_create_hash else [room.create.event_id]
    return [*create, member.event_id, *(event.event_id for event in events)]


def test_cycles_end_v2() -> None:
    # The event IDs of version 2 are the servers' own, so they can be made to cite each other.
    room = busy_room("2")
    content = {"users": {ALICE: 100}}
    ids = ["$one:a.example", "$two:a.example", "$three:a.example"]
    cycle = [
        room.event(
            "m.room.power_levels",
            ALICE,
            content,
            "",
            event_id=event_id,
            auth=[*_with_create(room), ids[(number + 1) % 3]],
        )
        for number, event_id in enumerate(ids)
    ]
    names = [
        room.event("m.room.name", ALICE, {}, "", auth=[*_with_create(room), event_id]) for event_id in ids
    ]
    itself = room.event("m.room.topic", ALICE, {}, "", event_id="$self:a.example", auth=["$self:a.example"])
    result = both_ways(room, with_(room, cycle[0], names[0], itself), with_(room, cycle[1], names[2]))
    assert result[LEVELS] in ids
    assert result[NAME] in {name.event_id for name in names}


@pytest.mark.parametrize("version", ["2", "11", "12"])
def test_nothing_is_known_of_the_conflict(version: str) -> None:
    room = busy_room(version)
    one, two = (room.event("m.room.name", BOB, {}, "") for _ in range(2))
    result = resolved(
        room.rules, [with_(room, one), with_(room, two)], room.events, {one.event_id, two.event_id}
    )
    assert result == room.ids()
    result = resolved(room.rules, [with_(room, one), with_(room, two)], room.events, {two.event_id})
    assert result[NAME] == one.event_id
