"""What is in conflict between sets of state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeserver.core.events import StateKey
from homeserver.core.state_resolution.steps import Unconflicted


@dataclass(frozen=True, slots=True)
class Conflicts:
    """State sets divided as the algorithms of room version 2 and later do.

    `unconflicted`: the *unconflicted state map*, the entries that all sets share.
    `conflicted`: the *conflicted state set*, by event ID, with a bit for each set that the event is in.
    `keys`: the keys of the conflicted events.
    `everywhere`: all those bits.

    Spec: https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """

    unconflicted: Unconflicted
    conflicted: dict[str, int]
    keys: frozenset[StateKey]
    everywhere: int


def distinct(state_sets: Sequence[Mapping[StateKey, str]]) -> list[Mapping[StateKey, str]]:
    """The state sets without repetitions, in their order."""
    found: list[Mapping[StateKey, str]] = []
    for state in state_sets:
        if not any(state is other or state == other for other in found):
            found.append(state)
    return found


def divide(state_sets: Sequence[Mapping[StateKey, str]], *, are_whole: bool = True) -> Conflicts:
    """What the sets share and where they differ. There is at least one set.

    `are_whole`: False when the sets are only what differs; what they share is then asked for where it is needed.
    """
    # "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V)
    # belongs to the unconflicted state map. Otherwise, V belongs to the conflicted state set."
    shared = set(state_sets[0].items())
    for state in state_sets[1:]:
        shared &= state.items()
    conflicted: dict[str, int] = {}
    keys: set[StateKey] = set()
    for number, state in enumerate(state_sets):
        for key, event_id in state.items() - shared:
            conflicted[event_id] = conflicted.get(event_id, 0) | 1 << number
            keys.add(key)
    unconflicted = {key: event_id for key, event_id in state_sets[0].items() if (key, event_id) in shared}
    shown = Unconflicted(unconflicted, is_whole=are_whole)
    return Conflicts(shown, conflicted, frozenset(keys), (1 << len(state_sets)) - 1)
