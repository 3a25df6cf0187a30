"""/sync itself: read, answer when there is something to tell, else wait until there is."""

import asyncio
from collections.abc import Collection
from typing import Any

from homeserver.services.client_events import ClientEvents
from homeserver.services.ignored_users import unwanted_by
from homeserver.services.notifier import Notifier
from homeserver.services.presence import Presence
from homeserver.services.reached import check_reached
from homeserver.services.room_state import RoomStates
from homeserver.services.sync.devices import device_sections
from homeserver.services.sync.lazy_members import SentMembers
from homeserver.services.sync.plan import plan
from homeserver.services.sync.request import MAX_TIMEOUT_MS, Reader, SyncRequest
from homeserver.services.sync.room import joined_room, left_room
from homeserver.services.sync.stripped import invited_room, knocked_room, outside_room
from homeserver.services.typing_users import TypingNews, TypingUsers
from homeserver.storage import rooms
from homeserver.storage.database import Database, Transaction

NEWS = ("rooms", "account_data", "presence")
"""The parts of an answer that a request does not wait for any longer."""


class Sync:
    """Answers /sync."""

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
        self._sent_members = SentMembers()

    async def sync(self, request: SyncRequest) -> dict[str, Any]:
        """The answer to /sync: at once when there is something new or all state is asked for, else within the time-out.

        Raises M_INVALID_PARAM for a token of a position that this server has not reached.
        """
        async with self._presence.syncing(request.requester, request.set_presence):
            return await self._sync(request)

    async def _sync(self, request: SyncRequest) -> dict[str, Any]:
        device = (request.requester.user_id, request.requester.device_id)
        known = self._sent_members.known(device, request.since)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(request.timeout_ms, MAX_TIMEOUT_MS) / 1000
        while True:
            typing = self._typing.news(request.typing)
            answer, reader, watched = await self._read(request, known, typing)
            left_ms = int((deadline - loop.time()) * 1000)
            has_news = not answer.keys().isdisjoint(NEWS)
            if has_news or request.since is None or request.full_state or left_ms <= 0:
                self._sent_members.note(device, reader.position, reader.sent_members)
                return answer
            if self._typing.changed_since(typing.number, watched):
                continue
            topics = [request.requester.user_id, *watched]
            await self._notifier.wait(topics, after=reader.position, timeout_ms=left_ms)

    async def _read(
        self, request: SyncRequest, known_members: Collection[str], typing: TypingNews
    ) -> tuple[dict[str, Any], Reader, list[str]]:
        """One reading: the answer, the reader it was made with, and the rooms that can bring news."""

        async def work(tx: Transaction) -> tuple[dict[str, Any], Reader, list[str]]:
            position = await check_reached(tx, request.since)
            unwanted = await unwanted_by(tx, request.requester.user_id)
            reader = Reader(
                tx,
                request,
                position,
                self._states,
                self._events,
                typing,
                self._presence,
                unwanted,
                known_members,
            )
            answer, watched = await _answer(tx, reader)
            return answer, reader, watched

        return await self._database.read(work)


async def _answer(tx: Transaction, reader: Reader) -> tuple[dict[str, Any], list[str]]:
    """The answer, and the rooms that can bring news."""
    made = await plan(reader)
    planned = [*made.joined, *made.left]
    nids = {shown.membership.room_nid for shown in planned}
    nids |= {membership.room_nid for membership in (*made.invited, *made.knocked)}
    known = await rooms.by_nids(tx, nids)
    sections: dict[str, dict[str, Any]] = {"join": {}, "invite": {}, "knock": {}, "leave": {}}
    for shown in made.joined:
        body = await joined_room(reader, known[shown.membership.room_nid], shown)
        if body is not None:
            sections["join"][shown.membership.room_id] = body
    for shown in made.left:
        sections["leave"][shown.membership.room_id] = await left_room(
            reader, known[shown.membership.room_nid], shown
        )
    for membership in made.invited:
        sections["invite"][membership.room_id] = await invited_room(
            reader, known[membership.room_nid], membership
        )
    for membership in made.knocked:
        sections["knock"][membership.room_id] = await knocked_room(
            reader, known[membership.room_nid], membership
        )
    for record in made.outside:
        name, body = outside_room(reader, record)
        sections[name][record.room_id] = body
    answer: dict[str, Any] = {"next_batch": str(reader.next_batch), **device_sections(reader)}
    if made.account_data:
        answer["account_data"] = {"events": made.account_data}
    if made.presence:
        answer["presence"] = {"events": made.presence}
    filled = {name: section for name, section in sections.items() if section}
    if filled:
        answer["rooms"] = filled
    return answer, made.watched
