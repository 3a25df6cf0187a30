"""How the algorithms ask for events without doing IO.

A resolution is a generator. It yields the IDs of events that it needs, as many as it can name at a time, and
is sent a mapping with the events that were found:

    steps = resolve(rules, state_sets)
    try:
        request = next(steps)
        while True:
            request = steps.send(await load(request))
    except StopIteration as done:
        state = done.value
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from homeserver.core.events import Event, StateKey

T = TypeVar("T")


class CitedBy(frozenset[str]):
    """A request for the events whose `auth_events` name one of these, asked only of callers that said
    `citing`.

    The answer maps each of these IDs to the IDs of the state events that cite it (none: an empty collection,
    or no entry). Message events may be among them; they change nothing.
    """


class SharedEntries(frozenset[str]):
    """A request for entries that all state sets share, asked only of callers of `resolve_differing`.

    It names no events, but `keys`: those of the entries, None for all of them. The answer maps those keys that all sets
    share to the event ID; it must not have any key in which the sets differ.
    """

    keys: frozenset[StateKey] | None

    def __new__(cls, keys: Collection[StateKey] | None) -> SharedEntries:
        """The request for the entries of these keys."""
        request = super().__new__(cls)
        request.keys = None if keys is None else frozenset(keys)
        return request


Answer: TypeAlias = Mapping[str, Event] | Mapping[str, Collection[str]] | Mapping[StateKey, str]
Steps: TypeAlias = Generator[Collection[str], Answer, T]
"""Yields event IDs, is sent the events that were found, returns T. More events than asked for may be sent,
such as the
auth chains of those asked for: they save later questions."""


class EventPool:
    """The events seen in one resolution, by ID, and the IDs that were asked for in vain."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.missing: set[str] = set()

    def load(self, event_ids: Collection[str]) -> Steps[None]:
        """Asks for those of the events that are not here yet, in one request."""
        wanted = frozenset(i for i in event_ids if i not in self.events and i not in self.missing)
        if not wanted:
            return
        self.events.update(cast(Mapping[str, Event], (yield wanted)))
        self.missing.update(i for i in wanted if i not in self.events)

    def load_with_auth_events(self, event_ids: Collection[str]) -> Steps[None]:
        """Asks for the events, then for the events that they name as theirs to be authorised by."""
        yield from self.load(event_ids)
        yield from self.load(
            {a for i in event_ids if i in self.events for a in self.events[i].auth_event_ids_with_create}
        )

    def auth_events(self, event: Event) -> list[Event]:
        """The auth events of `event` that are known, with the create event."""
        return [self.events[i] for i in event.auth_event_ids_with_create if i in self.events]


def ask_cited_by(event_ids: Collection[str]) -> Steps[Mapping[str, Collection[str]]]:
    """Asks which events cite these."""
    answer: Any = yield CitedBy(event_ids)
    return cast(Mapping[str, Collection[str]], answer)


class Unconflicted:
    """The *unconflicted state map*, as far as it has been looked at: in `entries`."""

    def __init__(self, entries: Mapping[StateKey, str], *, is_whole: bool) -> None:
        """`is_whole`: whether these are all there are; else more are asked for when they are looked up."""
        self.entries = dict(entries)
        self._is_whole = is_whole
        self._asked: set[StateKey] = set()

    def look_up(self, keys: Collection[StateKey]) -> Steps[None]:
        """Have those of these entries that there are in `entries`."""
        wanted = frozenset(keys) - self._asked - self.entries.keys()
        if wanted and not self._is_whole:
            self._asked |= wanted
            self.entries.update(cast(Mapping[StateKey, str], (yield SharedEntries(wanted))))

    def load_all(self) -> Steps[None]:
        """Have all entries in `entries`."""
        if not self._is_whole:
            self._is_whole = True
            self.entries.update(cast(Mapping[StateKey, str], (yield SharedEntries(None))))
