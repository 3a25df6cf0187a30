"""Which rooms a search looks through, and what of the matches in them the user may see and wants.

Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from homeserver.core.errors import MatrixError
from homeserver.core.events import StateKey
from homeserver.core.filters import RoomEventFilter
from homeserver.services.event_access import Access, SeenEvent, access, visible_in_rooms
from homeserver.services.ignored_users import ignored_users
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships
from homeserver.storage.database import Transaction
from homeserver.storage.search import Match

SEARCHED_MEMBERSHIPS = ("join", "leave", "ban")
MAX_PEEKED = 20
"""How many rooms that the user has not been in a search may name: all the world may read them."""

EXAMINED_AT_ONCE = 100

_ENCRYPTION: StateKey = ("m.room.encryption", "")


async def searched_rooms(
    tx: Transaction, states: RoomStates, user_id: str, wanted: RoomEventFilter
) -> dict[int, str]:
    """The rooms that are searched, number to ID: those that the user is or has been in and not forgotten, as far as the filter
    lets them through, and those that it names and all the world may read.
    """
    mine = await memberships.of_user(tx, user_id, SEARCHED_MEMBERSHIPS)
    found = {
        membership.room_nid: membership.room_id
        for membership in mine
        if not membership.forgotten and wanted.allows_room(membership.room_id)
    }
    known = {membership.room_id for membership in mine}
    named = [each for each in wanted.rooms or () if each not in known and wanted.allows_room(each)]
    for room_id in named[:MAX_PEEKED]:
        may = await _access(tx, states, room_id, user_id)
        if may is not None:
            found[may.room.room_nid] = room_id
    return found


@dataclass(frozen=True, slots=True)
class FoundEvents:
    """Goes through matches for one user. may: how the user may read the rooms that were come upon; None: not at all."""

    tx: Transaction
    states: RoomStates
    user_id: str
    wanted: RoomEventFilter
    ignored: Collection[str]
    may: dict[str, Access | None] = field(default_factory=dict)

    @classmethod
    async def open(
        cls, tx: Transaction, states: RoomStates, user_id: str, wanted: RoomEventFilter
    ) -> FoundEvents:
        """Whom the user ignores is found out first."""
        return cls(tx, states, user_id, wanted, await ignored_users(tx, user_id))

    async def seen(self, matches: Sequence[tuple[int, Match]]) -> AsyncIterator[tuple[int, Match, SeenEvent]]:
        """Those of the matches, each with its place, that the user may see and wants, in their order."""
        for start in range(0, len(matches), EXAMINED_AT_ONCE):
            batch = matches[start : start + EXAMINED_AT_ONCE]
            seen = await self._seen([match.nid for _, match in batch])
            for place, match in batch:
                if match.nid in seen:
                    yield place, match, seen[match.nid]

    def access(self, seen: SeenEvent) -> Access:
        """How the user may read the room of an event that was found."""
        may = self.may[seen.stored.event.room_id]
        assert may is not None, "nothing is found in other rooms"
        return may

    async def _seen(self, nids: Sequence[int]) -> dict[int, SeenEvent]:
        found = (await stored_events.by_nids(self.tx, nids)).values()
        chosen = [
            stored
            for stored in found
            if self.wanted.allows(stored.event.type, stored.event.sender, stored.event.content)
            and await self._may_search(stored.event.room_id)
        ]
        seen = await visible_in_rooms(self.tx, self.states, self.user_id, chosen, self.ignored)
        return {each.stored.nid: each for each in seen}

    async def _may_search(self, room_id: str) -> bool:
        """Whether the user may read the room, and it is not encrypted.

        "The search will *not* include rooms that are end to end encrypted."
        """
        if room_id not in self.may:
            may = await _access(self.tx, self.states, room_id, self.user_id)
            if may and await self.states.ids(self.tx, may.room.current_state, [_ENCRYPTION]):
                may = None
            self.may[room_id] = may
        return self.may[room_id] is not None


async def _access(tx: Transaction, states: RoomStates, room_id: str, user_id: str) -> Access | None:
    try:
        return await access(tx, states, room_id, user_id)
    except MatrixError:
        return None  # it is not for this user
