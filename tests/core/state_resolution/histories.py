"""Rooms with branches, made up by hypothesis: the states at the ends of the branches, some of them out of date."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from homeserver.core.auth_rules import authorise
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE
from homeserver.core.room_versions import RoomRules
from tests.core.auth_rules.builder import ALICE, BOB, CAROL, DAVE, Room

USERS = (ALICE, BOB, CAROL, DAVE)
RULES = ("public", "invite", "knock", "restricted")


@dataclass(frozen=True)
class History:
    """The events of a room and the states to be resolved."""

    rules: RoomRules
    events: dict[str, Event]
    state_sets: list[dict[StateKey, str]]


@st.composite
def histories(draw: st.DrawFn, version: str, *, most_sets: int = 3) -> History:
    """A room in which each event builds on one of the states so far; then a few of these states.

    Every event is allowed by the state it builds on. Some state sets get single entries of older states, as happens when a
    state was fetched from a server that had it wrong.
    """
    room = Room(version)
    room.member(ALICE, "join")
    room.levels(users={ALICE: 100, BOB: 50})
    room.join_rule("public")
    states = [dict(room.state)]
    for _ in range(draw(st.integers(1, 24))):
        state = states[draw(st.integers(max(0, len(states) - 4), len(states) - 1))]
        event = _draw_event(draw, room, state)
        if authorise(event, state) is None:
            states.append({**state, event.key: event})
    chosen = draw(st.lists(st.sampled_from(range(len(states))), min_size=1, max_size=most_sets))
    state_sets = []
    for index in chosen:
        state = room.ids(states[index])
        for older in draw(st.lists(st.sampled_from(range(index + 1)), max_size=2)):
            keys = sorted(key for key in states[older] if key != CREATE)
            key = draw(st.sampled_from(keys))
            state[key] = states[older][key].event_id
        state_sets.append(state)
    return History(room.rules, room.events, state_sets)


def _draw_event(draw: st.DrawFn, room: Room, state: dict[StateKey, Event]) -> Event:
    sender, target = draw(st.sampled_from(USERS)), draw(st.sampled_from(USERS))
    ts, number = draw(st.integers(0, 9)), draw(st.integers(0, 100))
    kind = draw(st.sampled_from(["member", "self", "levels", "rules", "name", "topic"]))
    if kind == "member":
        membership = draw(st.sampled_from(["invite", "leave", "ban"]))
        return room.event("m.room.member", sender, {"membership": membership}, target, state=state, ts=ts)
    if kind == "self":
        membership = draw(st.sampled_from(["join", "join", "leave", "knock"]))
        return room.event("m.room.member", sender, {"membership": membership}, sender, state=state, ts=ts)
    if kind == "levels":
        current = state.get(("m.room.power_levels", ""))
        content = dict(current.content) if current else {}
        content["users"] = {**content.get("users", {}), target: number}
        content = room.without_creator(content)
        return room.event("m.room.power_levels", sender, content, "", state=state, ts=ts)
    if kind == "rules":
        rule = RULES[number % len(RULES)]
        return room.event("m.room.join_rules", sender, {"join_rule": rule}, "", state=state, ts=ts)
    return room.event(f"m.room.{kind}", sender, {kind: str(number)}, "", state=state, ts=ts)
