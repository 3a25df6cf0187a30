"""The rooms of a user at once, in the form that came before /sync; and one room, for who looks into it without being in it.

Made of the pieces that /sync and /messages are made of.
Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.core.filters import Filter, RoomEventFilter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import newest_place, place_token, stream_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import Access, access
from homeserver.services.history_walk import HistoryWalker
from homeserver.services.ignored_users import unwanted_by
from homeserver.services.presence import Presence
from homeserver.services.room_state import RoomStates
from homeserver.services.sync.account_data import Events, account_data_news, account_data_of_rooms
from homeserver.services.sync.ephemeral import ephemeral_news
from homeserver.services.sync.presence import naming_users, presence_news
from homeserver.services.sync.request import Reader, SyncRequest
from homeserver.services.typing_users import TypingNews
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, out_of_room, positions
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Membership

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
"""Messages of each room."""

ARCHIVED = ("leave", "ban")

_EVERYTHING = RoomEventFilter()
_NOBODY_TYPES = TypingNews(0, {}, None)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of the database. limit: how many messages of each room are wanted."""

    reader: Reader
    limit: int

    async def room(self, may: Access, membership: str | None, own: Events) -> dict[str, Any]:
        """A room that the user may read, `membership` None for one who only looks in; own: the user's account data for it."""
        reader, room = self.reader, may.room
        until = reader.position if may.until is None else may.until
        ignored = reader.unwanted.ignored
        walker = HistoryWalker(reader.tx, reader.states, reader.user_id, may, _EVERYTHING, ignored)
        walk = await walker.walk(newest_place(until), None, self.limit, backwards=True)
        state = await reader.states.all_events(reader.tx, may.state)
        body: dict[str, Any] = {
            "room_id": room.room_id,
            "messages": {
                "chunk": await reader.events.render(reader.tx, reader.request.requester, walk.events[::-1]),
                "start": place_token(walk.place),
                "end": stream_token(until),
            },
            "state": await reader.events.state(reader.tx, state.values()),
            "visibility": "public" if room.published else "private",
            "account_data": own,
        }
        if membership is not None:
            body["membership"] = membership
        return body

    async def receipts(self, joined: Sequence[Membership]) -> Events:
        """The receipts in rooms that the user is in, each event with the room that it belongs to."""
        news = await ephemeral_news(self.reader, joined, ())
        return [{**event, "room_id": room_id} for room_id, events in news.items() for event in events]

    async def rooms(self, kinds: tuple[str, ...], own: dict[str, Events]) -> list[dict[str, Any]]:
        """The rooms in which the user has one of these memberships, but for those that the user has forgotten or never read."""
        found = []
        for membership in await memberships.of_user(self.reader.tx, self.reader.user_id, kinds):
            try:
                may = await access(
                    self.reader.tx, self.reader.states, membership.room_id, self.reader.user_id
                )
            except MatrixError:
                continue  # refused before it was ever joined, or forgotten: there is nothing to show
            if not membership.forgotten:
                found.append(await self.room(may, membership.membership, own.get(membership.room_id, [])))
        return found

    async def invites(self) -> list[dict[str, Any]]:
        """The rooms that the user is invited to, each with the invite."""
        reader = self.reader
        from_outside = await out_of_room.of_user(reader.tx, reader.user_id)
        overtaken = {record.room_id for record in from_outside}
        invites: list[Membership] = await memberships.of_user(reader.tx, reader.user_id, ("invite",))
        found = await stored_events.load_accepted(reader.tx, [each.event_id for each in invites])
        events = [found[each.event_id] for each in invites if each.room_id not in overtaken]
        events += [record.event for record in from_outside if record.membership == "invite"]
        return [
            {
                "room_id": event.room_id,
                "membership": "invite",
                "inviter": event.sender,
                "invite": reader.events.splice(event),
            }
            for event in events
            if reader.unwanted.lets_invite(event.sender)
        ]


class InitialSync:
    """Answers /initialSync of everything and of one room."""

    def __init__(
        self, database: Database, states: RoomStates, events: ClientEvents, presence: Presence
    ) -> None:
        """`events` brings what is read in the form for clients."""
        self._database = database
        self._states = states
        self._events = events
        self._presence = presence

    async def everything(
        self, requester: Requester, *, limit: int | None = None, archived: bool = False
    ) -> dict[str, Any]:
        """All rooms that the user is in or invited to, and where it is `archived` those that the user was in."""

        async def work(tx: Transaction) -> dict[str, Any]:
            reading = await self._reading(tx, requester, limit)
            news = await account_data_news(reading.reader)
            shown = await reading.rooms(("join", *ARCHIVED) if archived else ("join",), news.rooms)
            mine = await memberships.of_user(tx, requester.user_id, ("join",))
            nids = [membership.room_nid for membership in mine]
            return {
                "end": stream_token(reading.reader.position),
                "presence": naming_users(await presence_news(reading.reader, nids, ())),
                "receipts": await reading.receipts(mine),
                "account_data": news.everywhere,
                "rooms": [*shown, *await reading.invites()],
            }

        return await self._database.read(work)

    async def room(self, requester: Requester, room_id: str, *, limit: int | None = None) -> dict[str, Any]:
        """One room that the user is or was in, or that all the world may read. Raises M_FORBIDDEN.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
        """

        async def work(tx: Transaction) -> dict[str, Any]:
            may = await access(tx, self._states, room_id, requester.user_id)
            reading = await self._reading(tx, requester, limit)
            own = await account_data_of_rooms(reading.reader, {room_id})
            now = await memberships.get(tx, may.room.room_nid, requester.user_id)
            # The specification has no word for who knocks.
            membership = now.membership if now and now.membership != "knock" else None
            body = await reading.room(may, membership, own.get(room_id, []))
            # Who only looks in is not told who is there, and how far they have read.
            joined = [now] if now and may.is_joined else []
            present = await presence_news(reading.reader, [each.room_nid for each in joined], ())
            return {**body, "presence": naming_users(present), "receipts": await reading.receipts(joined)}

        return await self._database.read(work)

    async def _reading(self, tx: Transaction, requester: Requester, limit: int | None) -> _Reading:
        position = await positions.current(tx)
        request = SyncRequest(requester, Filter())
        unwanted = await unwanted_by(tx, requester.user_id)
        reader = Reader(
            tx, request, position, self._states, self._events, _NOBODY_TYPES, self._presence, unwanted
        )
        return _Reading(reader, min(DEFAULT_LIMIT if limit is None else limit, MAX_LIMIT))
