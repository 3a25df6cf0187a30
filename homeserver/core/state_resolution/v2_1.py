"""State resolution of room version 12: version 2 with two changes that keep state from being reset.

The replay of conflicted events begins with an empty state, so that they are judged by the events that they
were based on and not by unconflicted state of another time; and it takes in the events between conflicted
events (the conflicted state subgraph), so that a chain of events that depend on each other is replayed whole.

Spec: https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Container

from homeserver.core.events import StateKey
from homeserver.core.state_resolution.conflicts import Conflicts
from homeserver.core.state_resolution.steps import Steps
from homeserver.core.state_resolution.v2 import resolve_conflicts


def resolve_v2_1(
    conflicts: Conflicts, *, rejected: Container[str], citing: bool
) -> Steps[dict[StateKey, str]]:
    """The resolution of at least two distinct state sets by version 2.1 of the algorithm, without what they share."""
    return resolve_conflicts(conflicts, v2_1=True, rejected=rejected, citing=citing)
