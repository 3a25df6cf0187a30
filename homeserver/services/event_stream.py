"""All that is new for a user as one list of events: what came before /sync, and how one watches a room without being in it.

Beside the events of the rooms it brings what /sync tells of them (receipts, who is typing, account data) and presence, from the
same functions. Who only looks in gets the room's events alone.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from homeserver.core.events import Event
from homeserver.core.filters import Filter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import SyncToken
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import SeenEvent, access, visible_in_rooms
from homeserver.services.ignored_users import unwanted_by
from homeserver.services.notifier import Notifier
from homeserver.services.presence import Presence
from homeserver.services.reached import check_reached
from homeserver.services.room_state import RoomStates
from homeserver.services.sync.account_data import Events, account_data_news, account_data_of_rooms
from homeserver.services.sync.ephemeral import ephemeral_news
from homeserver.services.sync.presence import naming_users, presence_news
from homeserver.services.sync.request import MAX_TIMEOUT_MS, Reader, SyncRequest
from homeserver.services.typing_users import TypingNews, TypingUsers
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, out_of_room, positions
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.memberships import Membership

MAX_EVENTS = 100
"""Of the rooms' events in one answer; the next goes on after them."""

MAX_POSITIONS = 10_000
"""How much of the stream is looked through at once."""


@dataclass(frozen=True, slots=True)
class _Rooms:
    """The rooms of an answer. room_id: the one that is asked for; None: all of the user's.

    until: by the rooms' numbers the position up to which their events are wanted; None: no end. joined: those that the user is
    in. watched: the IDs of those that can bring news.
    """

    room_id: str | None
    until: Mapping[int, int | None]
    joined: Sequence[Membership]
    watched: Collection[str]

    def may_hold(self, stored: StoredEvent) -> bool:
        """Whether an event is of a time of which the user may be told."""
        last = self.until[stored.room_nid]
        return last is None or (stored.position or 0) <= last

    def holds(self, seen: SeenEvent, user_id: str) -> bool:
        """Whether an event that the user may see is told: of rooms that the user is not in, only what concerns the user."""
        stored = seen.stored
        if self.room_id is not None or self.until[stored.room_nid] is None or seen.membership == "join":
            return True
        return stored.event.type == "m.room.member" and stored.event.state_key == user_id


@dataclass(frozen=True, slots=True)
class _Batch:
    """events: what there is to tell. end: how far the reader has read with it. watched: the rooms that can bring news."""

    events: list[Any]
    end: SyncToken
    watched: Collection[str]


class EventStream:
    """Answers /events."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        events: ClientEvents,
        notifier: Notifier,
        typing: TypingUsers,
        presence: Presence,
    ) -> None:
        """Reads through `database`, waits with `notifier`."""
        self._database = database
        self._states = states
        self._events = events
        self._notifier = notifier
        self._typing = typing
        self._presence = presence

    async def events(
        self,
        requester: Requester,
        *,
        since: SyncToken | None = None,
        timeout_ms: int = 0,
        room_id: str | None = None,
    ) -> dict[str, Any]:
        """What comes next after a token (None: after now), at once where there is something, else within the time-out.

        It is that of all rooms that the user is in, and what belongs to no room; with `room_id` that of one room that the user
        may read. Whoever listens is online.
        Raises M_FORBIDDEN for another room, M_INVALID_PARAM for a position that this server has not reached.
        """
        async with self._presence.syncing(requester, None):
            # Who begins to listen now does not have to be told of being online by it.
            start = await self._start(since)
            batch = await self._wait(requester, start, timeout_ms, room_id)
        return {"start": str(start), "end": str(batch.end), "chunk": batch.events}

    async def _start(self, since: SyncToken | None) -> SyncToken:
        number = self._typing.news(None).number
        position = await self._database.read(
            lambda tx: check_reached(tx, None if since is None else since.position)
        )
        return SyncToken(position, number) if since is None else since

    async def _wait(
        self, requester: Requester, start: SyncToken, timeout_ms: int, room_id: str | None
    ) -> _Batch:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        request = SyncRequest(requester, Filter(), since=start.position, typing=start.typing)
        while True:
            typing = self._typing.news(start.typing)
            batch = await self._database.read(
                lambda tx, request=request, typing=typing: self._batch(tx, request, typing, room_id)  # type: ignore[misc]
            )
            left_ms = int((deadline - loop.time()) * 1000)
            if batch.events or left_ms <= 0:
                return batch
            request = replace(request, since=batch.end.position)
            if self._typing.changed_since(typing.number, batch.watched):
                continue
            topics = [requester.user_id, *batch.watched]
            await self._notifier.wait(topics, after=batch.end.position, timeout_ms=left_ms)

    async def _batch(
        self, tx: Transaction, request: SyncRequest, typing: TypingNews, room_id: str | None
    ) -> _Batch:
        after = request.since or 0
        end = min(await positions.current(tx), after + MAX_POSITIONS)
        unwanted = await unwanted_by(tx, request.requester.user_id)
        rooms = await self._rooms(tx, request.requester.user_id, after, room_id)
        found = await stored_events.following(tx, list(rooms.until), after=after, up_to=end, limit=MAX_EVENTS)
        if len(found) == MAX_EVENTS:
            end = found[-1].position or end
        reader = Reader(tx, request, end, self._states, self._events, typing, self._presence, unwanted)
        shown = await _timeline(reader, rooms, found)
        if room_id is None:
            shown += await _from_outside(reader)
            shown.sort(key=lambda each: each[0])
        beside = await _beside(reader, rooms)
        return _Batch([event for _, event in shown] + beside, reader.next_batch, rooms.watched)

    async def _rooms(self, tx: Transaction, user_id: str, after: int, room_id: str | None) -> _Rooms:
        if room_id is not None:
            may = await access(tx, self._states, room_id, user_id)
            mine = await memberships.get(tx, may.room.room_nid, user_id) if may.is_joined else None
            return _Rooms(room_id, {may.room.room_nid: may.until}, [mine] if mine else [], [room_id])
        joined = await memberships.of_user(tx, user_id, ("join",))
        changed = await memberships.of_user(tx, user_id, ("invite", "knock", "leave", "ban"), after=after)
        until: dict[int, int | None] = {membership.room_nid: None for membership in joined}
        until |= {membership.room_nid: membership.position for membership in changed}
        return _Rooms(None, until, joined, [membership.room_id for membership in joined])


_Placed = tuple[int, Any]
"""A position of the stream, and the event that is told of then."""


async def _timeline(reader: Reader, rooms: _Rooms, found: Sequence[StoredEvent]) -> list[_Placed]:
    """What the reader may see of the events of rooms, invites that are not wanted left out."""
    ignored = reader.unwanted.ignored
    wanted = [each for each in found if rooms.may_hold(each) and not _is_unwanted_invite(reader, each.event)]
    visible = await visible_in_rooms(reader.tx, reader.states, reader.user_id, wanted, ignored)
    seen = [each for each in visible if rooms.holds(each, reader.user_id)]
    rendered = await reader.events.render(reader.tx, reader.request.requester, seen)
    return [(each.stored.position or 0, event) for each, event in zip(seen, rendered, strict=True)]


async def _from_outside(reader: Reader) -> list[_Placed]:
    """What became of the user in rooms that only other servers are in."""
    return [
        (record.position, reader.events.splice(record.event))
        for record in await out_of_room.of_user(reader.tx, reader.user_id)
        if reader.is_news(record.position) and not _is_unwanted_invite(reader, record.event)
    ]


def _is_unwanted_invite(reader: Reader, event: Event) -> bool:
    """Whether it invites the reader, who does not want that."""
    is_invite = event.membership == "invite" and event.state_key == reader.user_id
    return is_invite and not reader.unwanted.lets_invite(event.sender)


async def _beside(reader: Reader, rooms: _Rooms) -> list[Any]:
    """What is new beside the events of rooms; what belongs to a room names it."""
    # Who has come into a room later than this answer reaches is told of it by the answer that does.
    joined = [membership for membership in rooms.joined if membership.position <= reader.position]
    new = {
        membership.room_id: membership.room_nid
        for membership in joined
        if reader.is_news(membership.position)
    }
    private = await account_data_news(reader)
    of_rooms = [
        private.rooms | await account_data_of_rooms(reader, new),
        await ephemeral_news(reader, joined, new),
    ]
    beside = [
        {**event, "room_id": room_id}
        for news in of_rooms
        for room_id, events in news.items()
        if rooms.room_id in (None, room_id)
        for event in events
    ]
    nids = [membership.room_nid for membership in joined]
    present = naming_users(await presence_news(reader, nids, new.values()))
    if rooms.room_id is None:
        return beside + private.everywhere + present
    return beside + await _present_in(reader, rooms, present)


async def _present_in(reader: Reader, rooms: _Rooms, present: Events) -> Events:
    """The presence of those who are in the one room that is asked for; nothing for who only looks in."""
    if not rooms.joined or not present:
        return []
    senders = {event["sender"] for event in present}
    members = await memberships.of_users(reader.tx, rooms.joined[0].room_nid, senders)
    return [event for event in present if members.get(event["sender"]) == "join"]
