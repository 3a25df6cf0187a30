"""State resolution of room version 1.

Spec: https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from homeserver.core.auth_rules import authorise, event_auth_keys
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE
from homeserver.core.state_resolution.steps import EventPool, Steps, Unconflicted


def resolve_v1(
    state_sets: Sequence[Mapping[StateKey, str]], shared: Unconflicted
) -> Steps[dict[StateKey, str]]:
    """The resolution of at least two distinct state sets by version 1 of the algorithm.

    `shared` has what the sets share and is not in them; it is not in the result either.
    """
    # "A conflict occurs between states where those states have different event_ids for the same (event_type,
    # state_key)."
    candidates: dict[StateKey, set[str]] = {}
    for state in state_sets:
        for key, event_id in state.items():
            candidates.setdefault(key, set()).add(event_id)
    # "Start by setting R to the union of the states to be resolved, excluding any conflicting events."
    resolved = {key: next(iter(ids)) for key, ids in candidates.items() if len(ids) == 1}
    conflicts = {key: ids for key, ids in candidates.items() if len(ids) > 1}
    if not conflicts:
        return resolved
    pool = EventPool()
    yield from _load_what_decides(pool, conflicts, resolved, shared)
    resolved.update(shared.entries)
    events = {
        key: [pool.events[event_id] for event_id in ids if event_id in pool.events]
        for key, ids in conflicts.items()
    }
    # "First we resolve conflicts between m.room.power_levels events. [...] Repeat the above process for
    # conflicts between m.room.join_rules events. Repeat the above process for conflicts between m.room.member
    # events."
    for event_type in ("m.room.power_levels", "m.room.join_rules", "m.room.member"):
        winners = {
            key: _resolve_auth_events(pool, key, found, resolved)
            for key, found in events.items()
            if key[0] == event_type and found
        }
        resolved.update(winners)
    # "No other events affect the authorisation rules, so for all other conflicts, just pick the event with
    # the highest depth and lowest sha1(event_id) that passes authentication in R and add it to R."
    others: dict[StateKey, str] = {}
    for key, found in events.items():
        if key not in resolved:
            for event in sorted(found, key=lambda event: (-event.depth, _sha1(event))):
                if _is_allowed(pool, event, resolved):
                    others[key] = event.event_id
                    break
    resolved.update(others)
    return {key: event_id for key, event_id in resolved.items() if key in candidates}


def _resolve_auth_events(
    pool: EventPool, key: StateKey, events: Collection[Event], resolved: Mapping[StateKey, str]
) -> str:
    """The winner of one conflict. Conflicts of one type do not see each other's winners: their order would
    matter.
    """
    # "Sort the list by ascending depth then descending sha1(event_id)."
    ordered = sorted(events, key=lambda event: _sha1(event), reverse=True)
    ordered.sort(key=lambda event: event.depth)
    # "Add the first event in the list to R. For each subsequent event in the list, check that the event would
    # be allowed by the authorisation rules for a room in state R. If the event would be allowed, then update
    # R with the event and continue with the next event in the list. If it would not be allowed, stop."
    winner = ordered[0]
    for event in ordered[1:]:
        if not _is_allowed(pool, event, {**resolved, key: winner.event_id}):
            break
        winner = event
    return winner.event_id


def _is_allowed(pool: EventPool, event: Event, resolved: Mapping[StateKey, str]) -> bool:
    needed = event_auth_keys(event) | {CREATE}
    state = {key: pool.events[resolved[key]] for key in needed if resolved.get(key) in pool.events}
    return authorise(event, state) is None


def _sha1(event: Event) -> str:
    return hashlib.sha1(event.event_id.encode(), usedforsecurity=False).hexdigest()


def _load_what_decides(
    pool: EventPool,
    conflicts: Mapping[StateKey, Collection[str]],
    resolved: Mapping[StateKey, str],
    shared: Unconflicted,
) -> Steps[None]:
    """Loads the conflicting events, then what the rules will look at in order to judge them: two requests."""
    yield from pool.load({event_id for ids in conflicts.values() for event_id in ids})
    keys = {key for event in pool.events.values() for key in event_auth_keys(event)} | {CREATE}
    yield from shared.look_up(keys - conflicts.keys() - resolved.keys())
    known = {**resolved, **shared.entries}
    yield from pool.load({known[key] for key in keys if key in known})
