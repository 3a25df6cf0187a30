"""State resolution of room versions 2 to 11.

The algorithm of room version 12 (v2_1.py) is this one with two changes, which are the parameters of
`resolve_conflicts`.

Spec: https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping

from homeserver.core.auth_rules import authorise, event_auth_keys
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS
from homeserver.core.state_resolution.auth_chains import AuthChains, descend
from homeserver.core.state_resolution.conflicts import Conflicts
from homeserver.core.state_resolution.ordering import (
    mainline_ordering,
    reverse_topological_power_ordering,
)
from homeserver.core.state_resolution.steps import EventPool, Steps


def resolve_v2(conflicts: Conflicts, *, rejected: Container[str], citing: bool) -> Steps[dict[StateKey, str]]:
    """The resolution of at least two distinct state sets by version 2 of the algorithm, without what they share."""
    return resolve_conflicts(conflicts, v2_1=False, rejected=rejected, citing=citing)


def resolve_conflicts(
    conflicts: Conflicts, *, v2_1: bool, rejected: Container[str], citing: bool
) -> Steps[dict[StateKey, str]]:
    """The algorithm of versions 2 and 2.1. The result has the entries that the unconflicted state map has not."""
    unconflicted = conflicts.unconflicted
    pool = EventPool()
    chains = AuthChains(pool, conflicts)
    full_conflicted_set = yield from chains.full_conflicted_set(subgraph=v2_1, citing=citing)
    # v2.1 2: "starting from an empty state map"; v2 2: "starting from the unconflicted state map"
    if not v2_1:
        events = (pool.events[event_id] for event_id in full_conflicted_set)
        needed = {CREATE, POWER_LEVELS}.union(*map(event_auth_keys, events))
        yield from unconflicted.look_up(needed - conflicts.keys)
    start = {} if v2_1 else dict(unconflicted.entries)
    yield from _load_what_authorises(pool, full_conflicted_set, start)

    # 1. "Select the set X of all power events that appear in the full conflicted set. For each such power
    # event P, enlarge X by adding the events in the auth chain of P which also belong to the full conflicted
    # set. Sort X into a list using the reverse topological power ordering."
    power_events = [i for i in full_conflicted_set if is_power_event(pool.events[i])]
    first = descend(power_events, pool.events) & full_conflicted_set
    # 2. "Apply the iterative auth checks algorithm [...] to the list of events from the previous step to get
    # a partially resolved state."
    ordered = reverse_topological_power_ordering(pool, first)
    state = iterative_auth_checks(pool, start, ordered, rejected)

    # 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering
    # based on the power level in the partially resolved state obtained in step 2."
    power_levels = pool.events.get(state.get(POWER_LEVELS, ""))
    ordered = yield from mainline_ordering(pool, power_levels, full_conflicted_set - first)
    # 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from
    # the previous step."
    state = iterative_auth_checks(pool, state, ordered, rejected)

    # 5. "Update the result by replacing any event with the event with the same key from the unconflicted
    # state map, if such an event exists, to get the final resolved state."
    yield from unconflicted.look_up(state.keys() - conflicts.keys)
    return {key: event_id for key, event_id in state.items() if key not in unconflicted.entries}


def is_power_event(event: Event) -> bool:
    """Whether this is a *power event*: one that might remove someone's ability to do something in the room.

    Spec: https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """
    # "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event
    # with type m.room.member where the membership is leave or ban and the sender does not match the
    # state_key."
    if event.type == "m.room.member":
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return event.type in ("m.room.power_levels", "m.room.join_rules") and event.is_state


def iterative_auth_checks(
    pool: EventPool, initial: Mapping[StateKey, str], events: Iterable[Event], rejected: Container[str]
) -> dict[StateKey, str]:
    """The *iterative auth checks algorithm*: the state with each event applied that the state so far allows.

    What the checks need of `initial`, and the auth events of `events`, are loaded.
    """
    state = dict(initial)
    for event in events:
        if event.is_state and authorise(event, _state_for(pool, event, state, rejected)) is None:
            state[event.key] = event.event_id
    return state


def _state_for(
    pool: EventPool, event: Event, state: Mapping[StateKey, str], rejected: Container[str]
) -> dict[StateKey, Event]:
    """What the authorisation rules need to know of the state in order to check the event."""
    needed = event_auth_keys(event) | {CREATE}
    # "If a (event_type, state_key) key that is required for checking the authorisation rules is not present
    # in the state, then the appropriate state event from the event's auth_events is used if the auth event is
    # not rejected."
    found = {
        auth_event.key: auth_event
        for auth_event in pool.auth_events(event)
        if auth_event.is_state and auth_event.key in needed and auth_event.event_id not in rejected
    }
    for key in needed:
        current = pool.events.get(state.get(key, ""))
        if current is not None:
            found[key] = current
    return found


def _load_what_authorises(
    pool: EventPool, event_ids: Collection[str], state: Mapping[StateKey, str]
) -> Steps[None]:
    """Loads the auth events of these events, and the entries of the state that the checks will look at: one
    request.
    """
    events = [pool.events[event_id] for event_id in event_ids]
    wanted = {auth_id for event in events for auth_id in event.auth_event_ids_with_create}
    wanted |= {state[key] for event in events for key in event_auth_keys(event) | {CREATE} if key in state}
    yield from pool.load(wanted)
