"""The events of rooms one after the other as they come: what came before /sync, and how one watches a room without being in it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import stream_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import access, visible_in_rooms
from homeserver.services.ignored_users import Unwanted, unwanted_by
from homeserver.services.notifier import Notifier
from homeserver.services.reached import check_reached
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, positions
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent

MAX_TIMEOUT_MS = 10 * 60 * 1000
MAX_EVENTS = 100
"""Of one answer; the next goes on after them."""

MAX_POSITIONS = 10_000
"""How much of the stream is looked through at once."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """events: in their order. end: the position that they go up to. topics: what else can bring news."""

    events: list[msgspec.Raw]
    end: int
    topics: list[str]


class EventStream:
    """Answers /events."""

    def __init__(
        self, database: Database, states: RoomStates, events: ClientEvents, notifier: Notifier
    ) -> None:
        """Reads through `database`, waits with `notifier`."""
        self._database = database
        self._states = states
        self._events = events
        self._notifier = notifier

    async def events(
        self,
        requester: Requester,
        *,
        since: int | None = None,
        timeout_ms: int = 0,
        room_id: str | None = None,
    ) -> dict[str, Any]:
        """The next events after a position (None: after now), at once where there are some, else within the time-out.

        They are those of all rooms that the user is in; with `room_id` those of one room that the user may read.
        Raises M_FORBIDDEN for another room, M_INVALID_PARAM for a position that this server has not reached.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        start = await self._start(since)
        after = start
        while True:
            batch = await self._database.read(
                lambda tx, after=after: self._batch(tx, requester, after, room_id)  # type: ignore[misc]
            )
            left_ms = int((deadline - loop.time()) * 1000)
            if batch.events or left_ms <= 0:
                return {
                    "start": stream_token(start),
                    "end": stream_token(batch.end),
                    "chunk": batch.events,
                }
            after = batch.end
            await self._notifier.wait(batch.topics, after=after, timeout_ms=left_ms)

    async def _start(self, since: int | None) -> int:
        position = await self._database.read(lambda tx: check_reached(tx, since))
        return position if since is None else since

    async def _batch(self, tx: Transaction, requester: Requester, after: int, room_id: str | None) -> _Batch:
        position = min(await positions.current(tx), after + MAX_POSITIONS)
        unwanted = await unwanted_by(tx, requester.user_id)
        until, topics = await self._rooms(tx, requester.user_id, unwanted, after, room_id)
        found = await stored_events.following(tx, list(until), after=after, up_to=position, limit=MAX_EVENTS)
        end = position
        if len(found) == MAX_EVENTS:
            end = found[-1].position or position
        within = [each for each in found if _is_within(each, until[each.room_nid])]
        seen = await visible_in_rooms(tx, self._states, requester.user_id, within, unwanted.ignored)
        seen.sort(key=lambda each: each.stored.position or 0)
        return _Batch(await self._events.render(tx, requester, seen), end, topics)

    async def _rooms(
        self, tx: Transaction, user_id: str, unwanted: Unwanted, after: int, room_id: str | None
    ) -> tuple[Mapping[int, int | None], list[str]]:
        """The rooms whose events are wanted, each with the position up to which (None: no end), and what is waited for."""
        if room_id is not None:
            may = await access(tx, self._states, room_id, user_id)
            return {may.room.room_nid: may.until}, [room_id, user_id]
        joined = await memberships.of_user(tx, user_id, ("join",))
        changed = await memberships.of_user(tx, user_id, ("invite", "knock", "leave", "ban"), after=after)
        until: dict[int, int | None] = {membership.room_nid: None for membership in joined}
        until.update(
            (membership.room_nid, membership.position)
            for membership in changed
            if membership.membership != "invite" or unwanted.lets_invite(membership.sender)
        )
        return until, [user_id, *(membership.room_id for membership in joined)]


def _is_within(stored: StoredEvent, last: int | None) -> bool:
    return last is None or (stored.position or 0) <= last
