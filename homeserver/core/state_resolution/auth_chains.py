"""Walking the auth chains of state sets: the auth difference and the conflicted state subgraph.

Every event in the chains gets a mask: a bit for each state set whose full auth chain holds it. Events with
all bits are in every chain; the others are the *auth difference*. The walk hands bits down from an event to
its auth events, so what was seen with all bits is not walked again, and it asks for a whole frontier of
events at a time.

The chains of the unconflicted state belong to every set. They matter only as far as they hold events that
would otherwise be in the auth difference, so they are walked last, and only if there are such events.

Spec: https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Final

from homeserver.core.events import Event, StateKey
from homeserver.core.state_resolution.conflicts import Conflicts
from homeserver.core.state_resolution.steps import EventPool, Steps, ask_cited_by

AUTH_EVENT_TYPES: Final = frozenset(
    {
        "m.room.create",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.member",
        "m.room.third_party_invite",
    }
)
"""The types that the auth events selection can name. Events that cite others are rejected when they are
received.
"""

_SAMPLE: Final = 100
"""How many events of the unconflicted state are looked at first, before all the others or asking who cites whom."""


_LIKELY: Final[tuple[StateKey, ...]] = (("m.room.power_levels", ""), ("m.room.join_rules", ""))


class AuthChains:
    """The walk over the auth chains of the state sets in `conflicts`."""

    def __init__(self, pool: EventPool, conflicts: Conflicts) -> None:
        self._pool = pool
        self._conflicts = conflicts
        self._masks: dict[str, int] = {}
        self._carried: dict[str, int] = {}
        # In the auth difference as far as is known, but not in conflict themselves: those make up the full
        # conflicted set anyway.
        self._open: set[str] = set()

    def full_conflicted_set(self, *, subgraph: bool, citing: bool) -> Steps[set[str]]:
        """The *full conflicted set*: those of its events that could be loaded.

        `subgraph`: with the conflicted state subgraph (version 2.1). `citing`: whether `CitedBy` may be
        asked.
        """
        conflicts = self._conflicts
        # If conflicted events can be in the auth chains of other conflicted events, these have to be walked
        # to their end: for the subgraph between them, and because they are ordered by it. Otherwise the walk
        # ends as soon as all that was seen is in every chain.
        linked = len(conflicts.conflicted) > 1 and any(key[0] in AUTH_EVENT_TYPES for key in conflicts.keys)
        yield from self._walk(conflicts.conflicted, to_the_end=linked)
        if self._open:
            yield from self._walk_unconflicted(citing)
        full = set(conflicts.conflicted) | self._open
        if subgraph and linked:
            full |= self._between_conflicted()
        return {event_id for event_id in full if event_id in self._pool.events}

    def _walk(self, seeds: Mapping[str, int], *, to_the_end: bool) -> Steps[None]:
        """Hands the bits of each seed down its auth chain."""
        events, missing = self._pool.events, self._pool.missing
        pending = dict(seeds)
        while pending:
            yield from self._pool.load(pending)
            work = list(pending.items())
            pending = {}
            while work:
                event_id, bits = work.pop()
                event = events.get(event_id)
                if event is None:
                    if event_id not in missing:
                        pending[event_id] = pending.get(event_id, 0) | bits
                    continue
                new = bits & ~self._carried.get(event_id, 0)
                if new:
                    self._carried[event_id] = self._carried.get(event_id, 0) | new
                    work.extend((auth_id, new) for auth_id in self._hand_down(event, new))
            if not to_the_end and not self._open:
                return

    def _hand_down(self, event: Event, bits: int) -> Iterable[str]:
        """Gives the bits to the auth events; returns those of them that the bits are new to."""
        everywhere, changed = self._conflicts.everywhere, []
        for auth_id in event.auth_event_ids:
            mask = self._masks.get(auth_id, 0)
            if bits & ~mask:
                mask |= bits
                self._masks[auth_id] = mask
                if mask == everywhere:
                    self._open.discard(auth_id)
                elif auth_id not in self._conflicts.conflicted:
                    self._open.add(auth_id)
                changed.append(auth_id)
        return changed

    def _walk_unconflicted(self, citing: bool) -> Steps[None]:
        """Finds which of the open events are in the auth chains of the unconflicted state."""
        everywhere = self._conflicts.everywhere
        unconflicted = self._conflicts.unconflicted
        # What authorises the open events is likely to authorise others: begin with few, of the likeliest kind.
        yield from unconflicted.look_up(_LIKELY)
        entries = unconflicted.entries
        yield from self._walk(
            {entries[key]: everywhere for key in _LIKELY if key in entries}, to_the_end=False
        )
        if not self._open:
            return
        yield from unconflicted.load_all()
        # The members of a large room are many and cite little.
        tips = iter([entries[key] for key in sorted(entries, key=lambda key: key[0] == "m.room.member")])
        size = _SAMPLE
        while self._open and (sample := list(islice(tips, size))):
            yield from self._walk(dict.fromkeys(sample, everywhere), to_the_end=False)
            if citing:
                break
            size *= 10
        if self._open and citing and len(entries) > _SAMPLE:
            yield from self._search_upwards(frozenset(entries.values()))

    def _search_upwards(self, tips: Collection[str]) -> Steps[None]:
        """The same by asking who cites the open events, and who cites those, until an event of the tips is
        met.
        """
        cites: dict[str, list[str]] = {}
        asked: set[str] = set()
        reached = set(tips)
        frontier = set(self._open)
        while frontier and self._open:
            asked |= frontier
            answer = yield from ask_cited_by(frontier)
            frontier = set()
            work: list[str] = []
            for event_id, citers in answer.items():
                for citer in citers:
                    cites.setdefault(citer, []).append(event_id)
                    if citer in reached or self._masks.get(citer) == self._conflicts.everywhere:
                        work.append(event_id)
                    elif citer not in asked:
                        frontier.add(citer)
            found: set[str] = set()
            while work:
                event_id = work.pop()
                if event_id not in found:
                    found.add(event_id)
                    work.extend(cites.get(event_id, ()))
            reached |= found
            frontier -= found
            yield from self._mark_everywhere(found)

    def _mark_everywhere(self, event_ids: Collection[str]) -> Steps[None]:
        for event_id in event_ids:
            self._masks[event_id] = self._conflicts.everywhere
            self._open.discard(event_id)
        known = [event_id for event_id in event_ids if event_id in self._pool.events]
        yield from self._walk(dict.fromkeys(known, self._conflicts.everywhere), to_the_end=False)

    def _between_conflicted(self) -> set[str]:
        # "Starting from an event in the conflicted state set and following auth_events edges may lead to
        # another event in the conflicted state set. The union of all such paths between any pair of events in
        # the conflicted state set (including endpoints) forms [...] the conflicted state subgraph." All that
        # the walk from the conflicted events has seen is reached from one; what leads to one is found
        # backwards.
        events, conflicted = self._pool.events, self._conflicts.conflicted
        below = descend(conflicted, events)
        cited_by: dict[str, list[str]] = {}
        for event_id in below:
            for auth_id in events[event_id].auth_event_ids:
                cited_by.setdefault(auth_id, []).append(event_id)
        leading: set[str] = set()
        work = [event_id for event_id in conflicted if event_id in below]
        while work:
            for citer in cited_by.get(work.pop(), ()):
                if citer not in leading:
                    leading.add(citer)
                    work.append(citer)
        return leading


def descend(event_ids: Iterable[str], events: Mapping[str, Event]) -> set[str]:
    """The events and their auth chains, as far as they are in `events`."""
    seen = {event_id for event_id in event_ids if event_id in events}
    work = list(seen)
    while work:
        for auth_id in events[work.pop()].auth_event_ids:
            if auth_id not in seen and auth_id in events:
                seen.add(auth_id)
                work.append(auth_id)
    return seen
