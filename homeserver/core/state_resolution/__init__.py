"""State resolution: what the state of a room is where branches of its history meet.

Spec: https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from homeserver.core.events import StateKey
from homeserver.core.room_versions import RoomRules, StateResolution
from homeserver.core.state_resolution.conflicts import distinct
from homeserver.core.state_resolution.steps import Answer, CitedBy, Steps
from homeserver.core.state_resolution.v1 import resolve_v1
from homeserver.core.state_resolution.v2 import resolve_v2
from homeserver.core.state_resolution.v2_1 import resolve_v2_1

__all__ = ["Answer", "CitedBy", "Steps", "resolve"]


def resolve(
    rules: RoomRules,
    state_sets: Sequence[Mapping[StateKey, str]],
    *,
    rejected: Container[str] = frozenset(),
    citing: bool = False,
) -> Steps[dict[StateKey, str]]:
    """The resolution of these sets of state, event IDs by (type, state_key), by the room version's algorithm.

    A generator: see `Steps`. It asks for nothing when the sets are equal. The result holds every entry that
    all sets share.

    `rejected`: tells of an event that was sent as an answer whether it was rejected when it was received;
    such an event takes part as the specification says, but authorises nothing. It is only looked at after the
    event was sent, so the loader can fill a set while it loads. `citing`: the caller also answers `CitedBy`.
    In a large room this can save loading the whole state.

    An event that the caller does not have is left out: it is not applied, and what it would authorise has to
    be authorised by something else.
    """
    sets = distinct(state_sets)
    if len(sets) <= 1:
        return dict(sets[0]) if sets else {}
    match rules.state_resolution:
        case StateResolution.V1:
            return (yield from resolve_v1(sets))
        case StateResolution.V2:
            return (yield from resolve_v2(sets, rejected=rejected, citing=citing))
        case StateResolution.V2_1:
            return (yield from resolve_v2_1(sets, rejected=rejected, citing=citing))
