"""State resolution: what the state of a room is where branches of its history meet.

Spec: https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from homeserver.core.events import StateKey
from homeserver.core.room_versions import RoomRules, StateResolution
from homeserver.core.state_resolution.conflicts import distinct, divide
from homeserver.core.state_resolution.steps import Answer, CitedBy, SharedEntries, Steps, Unconflicted
from homeserver.core.state_resolution.v1 import resolve_v1
from homeserver.core.state_resolution.v2 import resolve_v2
from homeserver.core.state_resolution.v2_1 import resolve_v2_1

__all__ = ["Answer", "CitedBy", "SharedEntries", "Steps", "resolve", "resolve_differing"]


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
    if rules.state_resolution is StateResolution.V1:
        return (yield from resolve_v1(sets, Unconflicted({}, is_whole=True)))
    conflicts = divide(sets)
    resolve_them = resolve_v2 if rules.state_resolution is StateResolution.V2 else resolve_v2_1
    result = yield from resolve_them(conflicts, rejected=rejected, citing=citing)
    return result | conflicts.unconflicted.entries


def resolve_differing(
    rules: RoomRules,
    differing: Sequence[Mapping[StateKey, str]],
    *,
    rejected: Container[str] = frozenset(),
    citing: bool = False,
) -> Steps[dict[StateKey, str]]:
    """The same for at least two sets of which only the entries are given that not all of them share.

    So a large state need not be loaded for the few entries in which its versions differ. What they share is asked for where it
    is needed: the caller also answers `SharedEntries`. The result has no entry that they share.
    """
    if rules.state_resolution is StateResolution.V1:
        return (yield from resolve_v1(differing, Unconflicted({}, is_whole=False)))
    conflicts = divide(differing, are_whole=False)
    resolve_them = resolve_v2 if rules.state_resolution is StateResolution.V2 else resolve_v2_1
    return (yield from resolve_them(conflicts, rejected=rejected, citing=citing))
