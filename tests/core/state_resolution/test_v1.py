"""Version 1 of the algorithm, sentence by sentence."""

from __future__ import annotations

import hashlib

from homeserver.core.state_resolution import resolve
from tests.core.auth_rules.builder import ALICE, BOB, CAROL, DAVE, Room, busy_room
from tests.core.state_resolution.driver import Loader, resolved

NAME = ("m.room.name", "")
LEVELS = ("m.room.power_levels", "")


def sha1(event_id: str) -> str:
    return hashlib.sha1(event_id.encode()).hexdigest()


def winner(room: Room, *events: object) -> str | None:
    """Which of these events, each in a state of its own, is resolved to."""
    state_sets = [room.ids() | {event.key: event.event_id} for event in events]  # type: ignore[attr-defined]
    key = events[0].key  # type: ignore[attr-defined]
    results = {resolved(room.rules, sets, room.events).get(key) for sets in (state_sets, state_sets[::-1])}
    assert len(results) == 1, "the order of the sets does not matter"
    return results.pop()


def test_without_conflict_the_states_are_joined_without_asking() -> None:
    room = busy_room("1")
    name = room.event("m.room.name", ALICE, {}, "")
    topic = room.event("m.room.topic", ALICE, {}, "")
    loader = Loader(room.events)
    sets = [room.ids() | {NAME: name.event_id}, room.ids() | {topic.key: topic.event_id}]
    assert loader.drive(resolve(room.rules, sets)) == room.ids() | {
        NAME: name.event_id,
        topic.key: topic.event_id,
    }
    assert loader.requests == []


def test_the_deepest_of_other_events_wins_if_it_is_allowed() -> None:
    room = busy_room("1")
    first = room.event("m.room.name", ALICE, {}, "", depth=10)
    second = room.event("m.room.name", ALICE, {}, "", depth=11)
    third = room.event("m.room.name", CAROL, {}, "", depth=12)  # Carol may not
    assert winner(room, first, second, third) == second.event_id
    assert winner(room, third, room.event("m.room.name", DAVE, {}, "")) is None


def test_the_lowest_sha1_wins_among_equally_deep() -> None:
    room = busy_room("1")
    names = [room.event("m.room.name", ALICE, {}, "", depth=10) for _ in range(5)]
    assert winner(room, *names) == min((name.event_id for name in names), key=sha1)


def test_power_levels_are_applied_in_turn_until_one_is_refused() -> None:
    room = busy_room("1")
    start = room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 50}}, "", depth=10)
    up = room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 60}}, "", depth=11)
    refused = room.event("m.room.power_levels", BOB, {"users": {ALICE: 0, BOB: 60}}, "", depth=12)
    fine = room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 70}}, "", depth=13)
    assert winner(room, start, up) == up.event_id
    assert winner(room, start, up, refused) == up.event_id
    assert winner(room, start, up, refused, fine) == up.event_id, "it stops at the first that is refused"
    assert winner(room, start, up, fine) == fine.event_id


def test_the_first_of_the_list_is_not_checked_and_has_the_highest_sha1() -> None:
    room = busy_room("1")
    # Both are refused after the other, so that the first of the list stays.
    events = [
        room.event("m.room.power_levels", BOB, {"users": {ALICE: 100}, "ban": ban}, "", depth=10)
        for ban in (0, 1)
    ]
    assert winner(room, *events) == max((event.event_id for event in events), key=sha1)


def test_power_levels_before_join_rules_before_members_before_others() -> None:
    room = busy_room("1")
    demoted = room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100}}, "", depth=50)
    kept = room.state[LEVELS]
    by_bob = room.event("m.room.name", BOB, {}, "", depth=60)
    by_alice = room.event("m.room.name", ALICE, {}, "", depth=40)
    rules = room.event("m.room.join_rules", BOB, {"join_rule": "invite"}, "", depth=60)
    banned = room.event("m.room.member", ALICE, {"membership": "ban"}, CAROL, depth=60)
    base = room.ids()
    sets = [
        base | {LEVELS: kept.event_id, NAME: by_bob.event_id, rules.key: rules.event_id},
        base | {LEVELS: demoted.event_id, NAME: by_alice.event_id, banned.key: banned.event_id},
    ]
    result = resolved(room.rules, sets, room.events)
    assert result[LEVELS] == demoted.event_id
    assert result[NAME] == by_alice.event_id, "Bob was demoted"
    assert result[rules.key] == base[rules.key]
    assert result[banned.key] == banned.event_id


def test_two_requests_are_enough() -> None:
    room = busy_room("1")
    for number in range(50):
        room.member(f"@user{number}:x.example", "join")
    one, two = (room.event("m.room.name", ALICE, {}, "") for _ in range(2))
    loader = Loader(room.events)
    loader.drive(resolve(room.rules, [room.ids() | {NAME: one.event_id}, room.ids() | {NAME: two.event_id}]))
    assert len(loader.requests) == 2
    assert len(loader.asked) < 10
