"""What an event's children come to: `m.relations` in `unsigned`, the bundled aggregations.

A constant number of queries for all events of an answer, and one when none of them has children. Runs inside a unit of work.
Spec: https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from homeserver.core.relations import REFERENCE, REPLACE, THREAD, may_be_replaced, may_be_thread_root
from homeserver.services.event_access import SeenEvent, visible_in_rooms
from homeserver.services.ignored_users import ignored_users
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import relations
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import Child

Bundles = dict[str, dict[str, Any]]
"""By event ID, by `rel_type`."""

LOOKED_AT: Final = 100
"""How many children are looked through when the newest is one that the user may not see."""

MAX_REFERENCES: Final = 1_000
"""How many references to an event are listed: the newest."""


class Render(Protocol):
    """Makes events JSON for the reader."""

    def __call__(
        self, events: Sequence[SeenEvent], *, relations: Mapping[str, Mapping[str, Any]]
    ) -> Awaitable[list[msgspec.Raw]]:
        """With what is bundled with each."""
        ...


Newest = Callable[[Transaction, Collection[str], Collection[str]], Awaitable[list[Child]]]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A child that is shown with its parent. number: as in Child."""

    event: SeenEvent
    number: int


async def bundle(
    tx: Transaction,
    states: RoomStates,
    user_id: str,
    events: Sequence[StoredEvent],
    render: Render,
    *,
    with_threads: bool = True,
) -> Bundles:
    """`m.relations` of the events that have children which count; only of what the user may see, and of nobody ignored.

    with_threads: not for the latest event of a thread, so that there is no loop whatever other servers send.
    "State events do not currently receive bundled aggregations."
    """
    parents = {stored.event.event_id: stored for stored in events if not stored.event.is_state}
    if not parents:
        return {}
    kinds = await relations.kinds(tx, parents)
    if not kinds:
        return {}
    reader = _Reader(tx, states, user_id, parents, kinds, await ignored_users(tx, user_id))
    edits = await reader.newest_visible(
        reader.replaceable(), partial(relations.newest_replacements, most=1), relations.newest_replacements
    )
    threads: dict[str, _Shown] = {}
    if with_threads:
        threads = await reader.newest_visible(
            reader.roots(), relations.latest_in_threads, relations.newest_in_threads
        )
    bundles: Bundles = {}
    for parent_id, event_ids in (await reader.references()).items():
        chunk = [{"event_id": event_id} for event_id in event_ids]
        bundles.setdefault(parent_id, {})[REFERENCE] = {"chunk": chunk}
    nested = [shown.event for shown in (*edits.values(), *threads.values())]
    if not nested:
        return bundles
    latest = [shown.event.stored for shown in threads.values()]
    inner = await bundle(tx, states, user_id, latest, render, with_threads=False) if latest else {}
    rendered = iter(await render(nested, relations=inner))
    for parent_id in edits:
        bundles.setdefault(parent_id, {})[REPLACE] = next(rendered)
    participated = await reader.participated(threads) if threads else frozenset()
    for parent_id, shown in threads.items():
        bundles.setdefault(parent_id, {})[THREAD] = {
            "latest_event": next(rendered),
            "count": shown.number,
            "current_user_participated": parent_id in participated,
        }
    return bundles


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the children of some events for one user."""

    tx: Transaction
    states: RoomStates
    user_id: str
    parents: Mapping[str, StoredEvent]
    kinds: Mapping[str, set[str]]
    ignored: frozenset[str]

    def with_kind(self, rel_type: str) -> list[str]:
        """The parents that have children of a kind."""
        return [parent_id for parent_id, kinds in self.kinds.items() if rel_type in kinds]

    def replaceable(self) -> list[str]:
        """Those of the parents with replacements that can be replaced.

        "If the original event is redacted, any `m.replace` relationship should not be bundled with it".
        """
        return [
            parent_id
            for parent_id in self.with_kind(REPLACE)
            if not self.parents[parent_id].redacted_by and may_be_replaced(self.parents[parent_id].event)
        ]

    def roots(self) -> list[str]:
        """Those of the parents with threads from which a thread can start."""
        return [
            parent_id
            for parent_id in self.with_kind(THREAD)
            if may_be_thread_root(self.parents[parent_id].event)
        ]

    async def newest_visible(
        self, parent_ids: Collection[str], newest: Newest, several: Callable[..., Awaitable[list[Child]]]
    ) -> dict[str, _Shown]:
        """For each parent its newest child that the user may see. newest, several: find the newest child, or more of them."""
        found: dict[str, _Shown] = {}
        missing = list(parent_ids)
        # Most often the user may see the newest. Not one who has left, or who was away meanwhile.
        for find in (newest, partial(several, most=LOOKED_AT)):
            if not missing:
                break
            children = await find(self.tx, missing, self.ignored)
            seen = await self._visible(children)
            for child in children:
                if child.nid in seen:
                    found.setdefault(child.parent_id, _Shown(seen[child.nid], child.number))
            without = {child.parent_id for child in children} - found.keys()
            missing = [parent_id for parent_id in missing if parent_id in without]
        return found

    async def references(self) -> dict[str, list[str]]:
        """For each parent the events that refer to it, the oldest first."""
        parent_ids = self.with_kind(REFERENCE)
        if not parent_ids:
            return {}
        children = await relations.newest_references(self.tx, parent_ids, self.ignored, MAX_REFERENCES)
        seen = await self._visible(children)
        found: dict[str, list[str]] = {}
        for child in children:
            if child.nid in seen:
                found.setdefault(child.parent_id, []).append(seen[child.nid].stored.event.event_id)
        return found

    async def participated(self, roots: Collection[str]) -> frozenset[str]:
        """Those of the threads in which the user has taken part: "the `sender` of the thread root", or of an event in it."""
        own = frozenset(root for root in roots if self.parents[root].event.sender == self.user_id)
        return own | await relations.with_child_of(self.tx, roots, self.user_id, THREAD)

    async def _visible(self, children: Collection[Child]) -> dict[int, SeenEvent]:
        """Those of the children that the user may see, by number."""
        stored = await stored_events.by_nids(self.tx, [child.nid for child in children])
        seen = await visible_in_rooms(self.tx, self.states, self.user_id, stored.values())
        return {each.stored.nid: each for each in seen}
