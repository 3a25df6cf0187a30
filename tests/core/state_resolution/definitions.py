"""Versions 2 and 2.1 of the algorithm, written down definition by definition without a thought for cost.

What the tests hold the real implementation against. It knows all events.

Spec: https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from homeserver.core.auth_rules import authorise, event_auth_keys
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_from

State = Mapping[StateKey, str]


class Definitions:
    """The definitions for these state sets."""

    def __init__(self, events: Mapping[str, Event], state_sets: Sequence[State], *, v2_1: bool) -> None:
        self.events, self.state_sets, self.v2_1 = events, state_sets, v2_1

    def auth_chain(self, event_id: str) -> set[str]:
        chain: set[str] = set()
        work = [event_id]
        while work:
            for auth_id in self.events[work.pop()].auth_event_ids:
                if auth_id not in chain:
                    chain.add(auth_id)
                    work.append(auth_id)
        return chain

    @cached_property
    def unconflicted(self) -> dict[StateKey, str]:
        first, *others = self.state_sets
        return {
            key: value for key, value in first.items() if all(state.get(key) == value for state in others)
        }

    @cached_property
    def conflicted(self) -> set[str]:
        return {
            value for state in self.state_sets for key, value in state.items() if key not in self.unconflicted
        }

    @cached_property
    def auth_difference(self) -> set[str]:
        chains = [set().union(*map(self.auth_chain, state.values())) for state in self.state_sets]
        return set().union(*chains) - set.intersection(*chains)

    @cached_property
    def subgraph(self) -> set[str]:
        def has_conflicted_in_chain(event_id: str) -> bool:
            return bool(self.auth_chain(event_id) & self.conflicted)

        below = set().union(*map(self.auth_chain, self.conflicted)) if self.conflicted else set()
        return {event_id for event_id in below if has_conflicted_in_chain(event_id)}

    @cached_property
    def full_conflicted_set(self) -> set[str]:
        return self.conflicted | self.auth_difference | (self.subgraph if self.v2_1 else set())

    def is_power_event(self, event_id: str) -> bool:
        event = self.events[event_id]
        if event.type == "m.room.member":
            return event.membership in ("leave", "ban") and event.sender != event.state_key
        return event.type in ("m.room.power_levels", "m.room.join_rules")

    def auth_event(self, event_id: str, key: StateKey) -> Event | None:
        for auth_id in self.events[event_id].auth_event_ids_with_create:
            if self.events[auth_id].key == key:
                return self.events[auth_id]
        return None

    def power_ordering(self, event_ids: set[str]) -> list[str]:
        def rank(event_id: str) -> tuple[float, int, str]:
            event = self.events[event_id]
            create = self.auth_event(event_id, CREATE) or event
            levels = power_levels_from(create, self.auth_event(event_id, POWER_LEVELS))
            return (-levels.user_level(event.sender), event.origin_server_ts, event_id)

        chains = {event_id: self.auth_chain(event_id) & event_ids for event_id in event_ids}
        ordered: list[str] = []
        while len(ordered) < len(event_ids):
            candidates = [i for i in event_ids - set(ordered) if chains[i] <= set(ordered)]
            ordered.append(min(candidates, key=rank))
        return ordered

    def mainline_ordering(self, start: str | None, event_ids: set[str]) -> list[str]:
        mainline: list[str] = []
        while start is not None:
            mainline.append(start)
            before = self.auth_event(start, POWER_LEVELS)
            start = before.event_id if before else None

        def rank(event_id: str) -> tuple[float, int, str]:
            event = self.events[event_id]
            position = float("inf")
            closest = self.auth_event(event_id, POWER_LEVELS)
            while closest is not None:
                if closest.event_id in mainline:
                    position = mainline.index(closest.event_id)
                    break
                closest = self.auth_event(closest.event_id, POWER_LEVELS)
            return (-position, event.origin_server_ts, event_id)

        return sorted(event_ids, key=rank)

    def iterative_auth_checks(self, state: State, ordered: list[str]) -> dict[StateKey, str]:
        result = dict(state)
        for event_id in ordered:
            event = self.events[event_id]
            view: dict[StateKey, Event] = {}
            for key in event_auth_keys(event) | {CREATE}:
                found = self.events[result[key]] if key in result else self.auth_event(event_id, key)
                if found is not None:
                    view[key] = found
            if authorise(event, view) is None:
                result[event.key] = event_id
        return result

    def resolution(self) -> dict[StateKey, str]:
        full = self.full_conflicted_set
        power_events = {event_id for event_id in full if self.is_power_event(event_id)}
        first = power_events.union(*(self.auth_chain(event_id) & full for event_id in power_events))
        start = {} if self.v2_1 else self.unconflicted
        state = self.iterative_auth_checks(start, self.power_ordering(first))
        rest = self.mainline_ordering(state.get(POWER_LEVELS), full - first)
        state = self.iterative_auth_checks(state, rest)
        return {**state, **self.unconflicted}
