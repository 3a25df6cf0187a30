"""The two orders in which conflicted events are replayed.

Spec: https://spec.matrix.org/v1.19/rooms/v2/#definitions
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from typing import TypeAlias

from homeserver.core.events import Event
from homeserver.core.power_levels import CREATE, POWER_LEVELS, PowerLevels, creators
from homeserver.core.state_resolution.auth_chains import descend
from homeserver.core.state_resolution.steps import EventPool, Steps

_Rank: TypeAlias = tuple[float, int, str]


def reverse_topological_power_ordering(pool: EventPool, event_ids: Collection[str]) -> list[Event]:
    """The *reverse topological power ordering* of these events, earliest first. They and their auth chains
    are loaded.

    "The lexicographically smallest topological ordering based on the DAG formed by auth events", by Kahn's
    algorithm. It runs over the whole of the auth chains, because an event can be an ancestor of another by
    way of events that are not to be ordered; those pass without waiting for their turn.
    """
    events = pool.events
    ranks = {event_id: _power_rank(pool, events[event_id]) for event_id in event_ids}
    nodes = descend(ranks, events)
    cited_by: dict[str, list[str]] = {}
    waiting_for: dict[str, int] = {}
    for event_id in nodes:
        parents = {auth_id for auth_id in events[event_id].auth_event_ids if auth_id in nodes}
        waiting_for[event_id] = len(parents)
        for auth_id in parents:
            cited_by.setdefault(auth_id, []).append(event_id)
    passing: list[str] = []
    turns: list[tuple[_Rank, str]] = []

    def ready(event_id: str) -> None:
        if event_id in ranks:
            heapq.heappush(turns, (ranks[event_id], event_id))
        else:
            passing.append(event_id)

    for event_id, count in waiting_for.items():
        if count == 0:
            ready(event_id)
    ordered: dict[str, Event] = {}
    # Event IDs that servers choose (room version 2) can be made to form a cycle, in which nobody's turn
    # comes. Then the smallest goes first.
    stuck = sorted(((rank, event_id) for event_id, rank in ranks.items()), reverse=True)
    while len(ordered) < len(ranks):
        if passing:
            done = passing.pop()
        elif turns:
            done = heapq.heappop(turns)[1]
        else:
            done = stuck.pop()[1]
        if done in ordered:
            continue
        if done in ranks:
            ordered[done] = events[done]
        for citer in cited_by.get(done, ()):
            waiting_for[citer] -= 1
            if waiting_for[citer] == 0:
                ready(citer)
    return list(ordered.values())


def _power_rank(pool: EventPool, event: Event) -> _Rank:
    # "x < y if 1. x's sender has greater power level than y's sender, when looking at their respective
    # auth_events; or 2. [...] x's origin_server_ts is less than y's origin_server_ts; or 3. [...] x's
    # event_id is less than y's event_id."
    auth_events = {
        auth_event.key: auth_event for auth_event in pool.auth_events(event) if auth_event.is_state
    }
    create = event if event.type == "m.room.create" else auth_events.get(CREATE)
    power_levels = auth_events.get(POWER_LEVELS)
    levels = PowerLevels(
        event.rules,
        power_levels.content if power_levels is not None else None,
        creators(create) if create is not None else frozenset(),
    )
    return (-levels.user_level(event.sender), event.origin_server_ts, event.event_id)


def mainline_ordering(
    pool: EventPool, power_levels: Event | None, event_ids: Collection[str]
) -> Steps[list[Event]]:
    """The *mainline ordering* of these events based on `power_levels`, the m.room.power_levels event of the
    state so far.

    The events and their auth events are loaded.
    """
    events = [pool.events[event_id] for event_id in event_ids]
    closest = {event.event_id: _cited_power_levels(pool, event) for event in events}
    starts = set(closest.values())
    positions: Mapping[str, int] = {}
    # Events that cite the same power levels have the same position, whatever it is.
    if power_levels is not None and len(starts) > 1:
        yield from _load_power_levels_chains(pool, {power_levels.event_id, *starts} - {None})
        positions = _mainline_positions(pool, power_levels.event_id, starts)
    infinite = len(pool.events) + 1

    def rank(event: Event) -> tuple[int, int, str]:
        # "x < y if 1. the mainline position of x is greater than the mainline position of y; or 2. [...] x's
        # origin_server_ts is less than y's origin_server_ts; or 3. [...] x's event_id is less than y's
        # event_id."
        start = closest[event.event_id]
        position = positions.get(start, infinite) if start is not None else infinite
        return (-position, event.origin_server_ts, event.event_id)

    return sorted(events, key=rank)


def _cited_power_levels(pool: EventPool, event: Event) -> str | None:
    for auth_event in pool.auth_events(event):
        if auth_event.type == POWER_LEVELS[0] and auth_event.state_key == POWER_LEVELS[1]:
            return auth_event.event_id
    return None


def _load_power_levels_chains(pool: EventPool, starts: Collection[str | None]) -> Steps[None]:
    """Loads what leads from each m.room.power_levels event to the one before it, to the beginning."""
    seen: set[str | None] = set()
    frontier = set(starts)
    while frontier:
        seen |= frontier
        ids = [event_id for event_id in frontier if event_id is not None]
        yield from pool.load_with_auth_events(ids)
        known = (pool.events[event_id] for event_id in ids if event_id in pool.events)
        frontier = {_cited_power_levels(pool, event) for event in known} - seen - {None}


def _mainline_positions(pool: EventPool, tip: str, starts: Collection[str | None]) -> Mapping[str, int]:
    """For each of `starts` (the m.room.power_levels event that an event cites) its place in the mainline of
    `tip`, or that of the closest event before it that is in the mainline. Without an entry: infinite.
    """
    positions: dict[str, int] = {}
    # "Let P = P_0 be an m.room.power_levels event. Starting with i = 0, repeatedly fetch P_i+1, the
    # m.room.power_levels event in the auth_events of P_i."
    current: str | None = tip
    while current is not None and current in pool.events and current not in positions:
        positions[current] = len(positions)
        current = _cited_power_levels(pool, pool.events[current])
    # "Find the smallest index j >= 1 for which e_j belongs to the mainline of P."
    nowhere: set[str] = set()
    for start in starts:
        path: list[str] = []
        on_path: set[str] = set()
        current = start
        while current is not None and current in pool.events:
            if current in positions or current in nowhere or current in on_path:
                break
            path.append(current)
            on_path.add(current)
            current = _cited_power_levels(pool, pool.events[current])
        if current is not None and current in positions:
            positions.update(dict.fromkeys(path, positions[current]))
        else:
            nowhere.update(path)
    return positions
