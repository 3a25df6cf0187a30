"""Putting events in an order in which each comes after those it refers to, and judging them in that order. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from homeserver.core.auth_rules import authorise, check_auth_events
from homeserver.core.events import Event, left_as_found


def by_auth_events(event: Event) -> Iterable[str]:
    """The events that authorise this one."""
    return event.auth_event_ids_with_create


def by_prev_events(event: Event) -> Iterable[str]:
    """The events before this one."""
    return event.prev_event_ids


def ordered(events: Iterable[Event], parents: Callable[[Event], Iterable[str]]) -> list[Event]:
    """The events so that each comes after its parents, as far as these are among the events; else in the order given.

    Events that refer to each other in a circle, which only room versions 1 and 2 make possible, are left out.
    """
    by_id = {event.event_id: event for event in events}
    places = {event_id: place for place, event_id in enumerate(by_id)}
    children: dict[str, list[str]] = {}
    waiting: dict[str, int] = {}
    ready: list[tuple[int, str]] = []
    for event in by_id.values():
        known = {parent for parent in parents(event) if parent in by_id}
        waiting[event.event_id] = len(known)
        for parent in known:
            children.setdefault(parent, []).append(event.event_id)
        if not known:
            ready.append((places[event.event_id], event.event_id))
    heapq.heapify(ready)
    result = []
    while ready:
        _, event_id = heapq.heappop(ready)
        result.append(by_id[event_id])
        for child in children.get(event_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (places[child], child))
    return result


@dataclass(slots=True)
class Judged:
    """What the auth rules say of events by their own auth events.

    `accepted` and `rejected` (with reasons) are in the order in which they were judged. `unjudged` are those whose auth
    events are not all known, with reasons; nothing that refers to them can be judged either.
    """

    accepted: dict[str, Event] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)


def judge_by_auth_events(
    events: Iterable[Event], known: Mapping[str, Event], known_rejected: Collection[str] = ()
) -> Judged:
    """Check each event against the auth events it names, which are among `events` or `known`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu (check 4)
    """
    judged = Judged()
    seen: dict[str, Event] = dict(known)
    rejected = set(known_rejected)
    for event in ordered(events, by_auth_events):
        wanted = event.auth_event_ids_with_create
        missing = [event_id for event_id in wanted if event_id not in seen]
        if missing:
            judged.unjudged[event.event_id] = f"its auth event {missing[0]} is not known"
            continue
        auth_events = {event_id: seen[event_id] for event_id in wanted}
        # Of large rooms nearly all are members. Others, as the power levels, are asked for again and again.
        members = [auth_event for auth_event in auth_events.values() if auth_event.type == "m.room.member"]
        with left_as_found([event, *members]):
            refusal = check_auth_events(event, auth_events, rejected) or authorise(
                event, {each.key: each for each in auth_events.values() if each.is_state}
            )
        seen[event.event_id] = event
        if refusal is None:
            judged.accepted[event.event_id] = event
        else:
            rejected.add(event.event_id)
            judged.rejected[event.event_id] = f"{refusal.rule}: {refusal.reason}"
    return judged
