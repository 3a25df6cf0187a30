"""Drives a resolution from a dictionary of events, and keeps count of what it asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomRules
from homeserver.core.state_resolution import CitedBy, SharedEntries, Steps, resolve, resolve_differing

T = TypeVar("T")


class Loader:
    """Answers requests out of `events`; `hidden` events are not found. `shared`: the entries that all sets share, where these are
    asked for."""

    def __init__(
        self,
        events: Mapping[str, Event],
        hidden: Collection[str] = (),
        shared: Mapping[StateKey, str] | None = None,
    ) -> None:
        self.shared = shared
        self.keys_asked: list[frozenset[StateKey] | None] = []
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
        if isinstance(request, SharedEntries):
            assert self.shared is not None, "all entries were given"
            self.keys_asked.append(request.keys)
            keys = self.shared.keys() if request.keys is None else request.keys & self.shared.keys()
            return {key: self.shared[key] for key in keys}
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


def resolved_by_difference(
    rules: RoomRules,
    state_sets: Sequence[Mapping[StateKey, str]],
    events: Mapping[str, Event],
    hidden: Collection[str] = (),
    **options: Any,
) -> tuple[dict[StateKey, str], list[frozenset[StateKey] | None]]:
    """The resolution of distinct state sets from what differs between them, and which of the shared entries were asked for."""
    shared = {
        key: event_id
        for key, event_id in state_sets[0].items()
        if all(state.get(key) == event_id for state in state_sets)
    }
    differing = [{key: value for key, value in state.items() if key not in shared} for state in state_sets]
    loader = Loader(events, hidden, shared)
    result = loader.drive(resolve_differing(rules, differing, **options))
    assert not result.keys() & shared.keys()
    return {**result, **shared}, loader.keys_asked
