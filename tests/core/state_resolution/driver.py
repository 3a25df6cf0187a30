"""Drives a resolution from a dictionary of events, and keeps count of what it asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomRules
from homeserver.core.state_resolution import CitedBy, Steps, resolve

T = TypeVar("T")


class Loader:
    """Answers requests out of `events`. `hidden` events are not found."""

    def __init__(self, events: Mapping[str, Event], hidden: Collection[str] = ()) -> None:
        self.events = {event_id: event for event_id, event in events.items() if event_id not in hidden}
        self.requests: list[Collection[str]] = []
        self.cited_by: dict[str, list[str]] = {}
        for event in self.events.values():
            for auth_id in event.auth_event_ids:
                self.cited_by.setdefault(auth_id, []).append(event.event_id)

    @property
    def asked(self) -> list[str]:
        """The IDs of all events asked for."""
        return [i for request in self.requests if not isinstance(request, CitedBy) for i in request]

    def answer(self, request: Collection[str]) -> Mapping[str, Any]:
        """The answer to one request."""
        assert request, "asked for nothing"
        self.requests.append(request)
        if isinstance(request, CitedBy):
            return {i: self.cited_by[i] for i in request if i in self.cited_by}
        return {i: self.events[i] for i in request if i in self.events}

    def drive(self, steps: Steps[T]) -> T:
        """Runs the steps to their end."""
        try:
            request = next(steps)
            while True:
                request = steps.send(self.answer(request))
        except StopIteration as done:
            result: T = done.value
            return result


def resolved(
    rules: RoomRules,
    state_sets: Sequence[Mapping[StateKey, str]],
    events: Mapping[str, Event],
    hidden: Collection[str] = (),
    **options: Any,
) -> dict[StateKey, str]:
    """The resolution of the state sets."""
    return Loader(events, hidden).drive(resolve(rules, state_sets, **options))
