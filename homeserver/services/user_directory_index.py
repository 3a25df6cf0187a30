"""Keeps the user directory up with profiles, memberships and rooms: in the background, so that nothing else waits for it.

What may have changed is marked in the unit of work that changes it (`storage/user_directory.py`), and looked at here once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.identifiers import is_compliant_user_id, is_valid_mxc
from homeserver.core.name_words import words_of
from homeserver.core.visibility import OPENNESS, is_open
from homeserver.services.background import BackgroundWork
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed
from homeserver.services.room_state import RoomStates
from homeserver.storage import accounts, memberships, profiles, rooms, user_directory
from homeserver.storage import events as stored_events
from homeserver.storage.database import Database, Transaction, is_storable
from homeserver.storage.user_directory import Entry

BATCH = 100
"""How many users are looked at in one unit of work."""

GATHER_S = 0.5
PAUSE_S = 0.02
PIECES_BEFORE_SEARCH = 10
"""How far the directory is brought up before a search answers from what there is."""

MAX_TEXT_LENGTH = 1000
"""What others call themselves is cut, so that answers are bounded."""


@dataclass(frozen=True, slots=True)
class _Profile:
    display_name: str | None
    avatar_url: str | None


class UserDirectoryIndex:
    """Looks at what has changed, and brings the directory up to it."""

    def __init__(self, database: Database, states: RoomStates, identity: Identity) -> None:
        self._database = database
        self._states = states
        self._identity = identity
        self.work = BackgroundWork("user directory", self._piece, gather_s=GATHER_S, pause_s=PAUSE_S)

    def committed(self, news: Committed) -> None:
        """Something was stored: what is looked at is marked where a room's state changes."""
        if news.moves_state:
            self.work.wake()

    async def catch_up(self) -> None:
        """Look at what has changed, as far as a person waits for it: only a new directory is further behind."""
        for _ in range(PIECES_BEFORE_SEARCH):
            if not await self._piece():
                return

    async def _piece(self) -> bool:
        if await self._database.read(_is_clean):
            return False
        return await self._database.write(self._look)

    async def _look(self, tx: Transaction) -> bool:
        """Look at a room, or when there is none at some users; whether something was there."""
        for room_nid, change in (await user_directory.changed_rooms(tx, 1)).items():
            await user_directory.set_open(tx, room_nid, await self._is_open(tx, room_nid))
            await user_directory.room_seen(tx, room_nid, change)
            return True
        changed = await user_directory.changed_users(tx, BATCH)
        if not changed:
            return False
        await self._look_at_users(tx, list(changed))
        await user_directory.users_seen(tx, changed)
        return True

    async def _is_open(self, tx: Transaction, room_nid: int) -> bool:
        """Whether all the world may join or read a room. Of rooms that we have left we do not know."""
        room = (await rooms.by_nids(tx, [room_nid])).get(room_nid)
        if room is None or not await memberships.is_server_joined(tx, room_nid, self._identity.server_name):
            return False
        return is_open(await self._states.events(tx, room.current_state, OPENNESS))

    async def _look_at_users(self, tx: Transaction, user_ids: Collection[str]) -> None:
        # "servers [...] SHOULD NOT forward such user IDs to clients when referenced outside the context of an event"
        shown = [user_id for user_id in user_ids if is_compliant_user_id(user_id)]
        ours = await accounts.existing(tx, [each for each in shown if self._identity.is_ours(each)])
        found = await _own_profiles(tx, ours)
        found |= await _told_profiles(tx, [each for each in shown if not self._identity.is_ours(each)])
        public = await user_directory.in_open_rooms(tx, found)
        entries = {
            user_id: Entry(
                user_id, user_id in ours, profile.display_name, profile.avatar_url, user_id in public
            )
            for user_id, profile in found.items()
        }
        before = await user_directory.get_many(tx, user_ids)
        await user_directory.remove(tx, [user_id for user_id in before if user_id not in entries])
        await user_directory.put(
            tx,
            [
                (entry, words_of(user_id, entry.display_name))
                for user_id, entry in entries.items()
                if entry != before.get(user_id)
            ],
        )


async def _is_clean(tx: Transaction) -> bool:
    return not await user_directory.changed_rooms(tx, 1) and not await user_directory.changed_users(tx, 1)


async def _own_profiles(tx: Transaction, user_ids: Collection[str]) -> dict[str, _Profile]:
    fields = await profiles.get_many(tx, user_ids)
    return {user_id: _profile(fields.get(user_id, {})) for user_id in user_ids}


async def _told_profiles(tx: Transaction, user_ids: Collection[str]) -> dict[str, _Profile]:
    """What users of other servers call themselves, by the newest event of any room that they are in."""
    newest = await user_directory.newest_joins(tx, user_ids)
    found = await stored_events.by_nids(tx, list(newest.values()))
    return {user_id: _profile(found[nid].event.content) for user_id, nid in newest.items() if nid in found}


def _profile(fields: Mapping[str, Any]) -> _Profile:
    name, avatar = fields.get("displayname"), fields.get("avatar_url")
    if not isinstance(name, str) or not name.strip() or not is_storable(name):
        name = None
    if not isinstance(avatar, str) or len(avatar) > MAX_TEXT_LENGTH or not is_valid_mxc(avatar):
        avatar = None
    return _Profile(name[:MAX_TEXT_LENGTH] if name else None, avatar)
