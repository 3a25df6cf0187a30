"""State that another server gave us: judged by the auth rules, and made a state map.

Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from homeserver.core.event_order import Judged, by_auth_events, judge_by_auth_events, ordered
from homeserver.core.events import Event, StateKey
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus

CREATE: StateKey = ("m.room.create", "")


class BadState(Exception):
    """A state that cannot be one; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ImportedState:
    """A state with what authorises it.

    `entries`: the state map. `outliers`: all events, each after those that authorise it, to be stored. `rejected`: the reasons for
    those among them that the auth rules refuse. `left_out`: the reasons for events that could not be judged, by event ID.
    """

    entries: dict[StateKey, str]
    outliers: list[Event]
    rejected: dict[str, str]
    left_out: dict[str, str]


async def imported_state(
    state_ids: Collection[str],
    events: Mapping[str, Event],
    known: Mapping[str, Event],
    known_rejected: Collection[str] = (),
) -> ImportedState:
    """Judge events and make the state map of those with `state_ids`; those that cannot be had or are not allowed are left out.

    `events` are given to us, with their signatures verified; `known` are those that we have judged before. `known_rejected` were
    rejected then, and stay so, also where they are given to us once more. Runs off the event loop. Raises BadState: no create
    event, two events for one entry, an event without state key.
    """
    return await asyncio.to_thread(_imported_state, state_ids, events, known, known_rejected)


def _imported_state(
    state_ids: Collection[str],
    events: Mapping[str, Event],
    known: Mapping[str, Event],
    known_rejected: Collection[str],
) -> ImportedState:
    judged = judge_by_auth_events(events.values(), known, known_rejected)
    entries: dict[StateKey, str] = {}
    for event_id in state_ids:
        event = judged.accepted.get(event_id) or known.get(event_id)
        if event is None or event_id in known_rejected:
            continue
        if not event.is_state:
            raise BadState(f"{event_id} is in the state, but is no state event")
        if entries.setdefault(event.key, event_id) != event_id:
            raise BadState(f"the state has two events for {event.key}: {entries[event.key]} and {event_id}")
    if CREATE not in entries:
        raise BadState(_no_create(state_ids, events, judged))
    judgeable = (event for event_id, event in events.items() if event_id not in judged.unjudged)
    return ImportedState(entries, ordered(judgeable, by_auth_events), judged.rejected, judged.unjudged)


def _no_create(state_ids: Collection[str], events: Mapping[str, Event], judged: Judged) -> str:
    for event_id in state_ids:
        event = events.get(event_id)
        if event is not None and event.type == "m.room.create" and event_id in judged.rejected:
            return f"the state's m.room.create event is not valid: {judged.rejected[event_id]}"
    return "the state has no m.room.create event"


async def known_events(
    tx: Transaction, event_ids: Iterable[str], *, room_nid: int | None = None
) -> tuple[dict[str, Event], set[str]]:
    """Those of some events that we have, and the IDs of those among them that were rejected.

    room_nid: the room that they have to be of, for what nothing else keeps to one room.
    """
    found = await stored_events.get_many(tx, list(event_ids))
    if room_nid is not None:
        found = {event_id: stored for event_id, stored in found.items() if stored.room_nid == room_nid}
    rejected = {event_id for event_id, stored in found.items() if stored.status is EventStatus.REJECTED}
    return {event_id: stored.event for event_id, stored in found.items()}, rejected


async def rejected_before(tx: Transaction, room_id: str, event_ids: Iterable[str]) -> set[str]:
    """Those of the events that we have rejected in an earlier stay in the room: none becomes part of it by our return."""
    room = await rooms.get(tx, room_id)
    if room is None:
        return set()
    found = await stored_events.known(tx, list(event_ids))
    return {
        event_id
        for event_id, each in found.items()
        if each.room_nid == room.room_nid and each.status is EventStatus.REJECTED
    }
