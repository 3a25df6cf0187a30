"""What holds for a room that replaces another as it did for that: each user's own settings, and whether it is in the directory.

"When a user joins the new room, the server should automatically transfer/replicate some of the user's personalized settings such as
notifications, tags, etc."
Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-19
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from homeserver.core.errors import MatrixError
from homeserver.services.account_data import store
from homeserver.services.notifier import Committed
from homeserver.services.push_rules import PushRules
from homeserver.services.room_state import RoomStates
from homeserver.services.user_writes import UserWrites
from homeserver.storage import account_data, memberships, rooms
from homeserver.storage.account_data import GLOBAL
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

DIRECT = "m.direct"
TAG = "m.tag"


class ReplacedRooms:
    """Takes over what was set for rooms that have been upgraded, by this server or another."""

    def __init__(self, writes: UserWrites, states: RoomStates, push_rules: PushRules) -> None:
        self._writes = writes
        self._states = states
        self._push_rules = push_rules

    async def carry_over(self, user_id: str, room_id: str) -> None:
        """A user of ours has joined a room: if it replaces another, keep for it what the user has set for that.

        Settings that the user has made for the new room already stay, and so do those of the old room.
        """
        old_room_id = await self._writes.run(lambda tx: self._work(tx, user_id, room_id))
        if old_room_id is not None:
            await self._push_rules.copy_room(user_id, old_room_id, room_id)

    async def _work(self, tx: Transaction, user_id: str, room_id: str) -> tuple[str | None, Committed | None]:
        new = await rooms.get(tx, room_id)
        old = await self._predecessor(tx, new) if new else None
        if new is None or old is None:
            return None, None
        if old.published and not new.published:
            await rooms.set_published(tx, old.room_nid, False)
            await rooms.set_published(tx, new.room_nid, True)
        if await memberships.get(tx, old.room_nid, user_id) is None:
            return None, None
        committed = await self._copy_tags(tx, user_id, old.room_id, room_id)
        committed = await self._copy_direct(tx, user_id, old.room_id, room_id) or committed
        return old.room_id, committed

    async def _predecessor(self, tx: Transaction, new: Room) -> Room | None:
        """The room that this one replaces. Both have to say so, or anybody could take over what is set for a room."""
        create = await self._states.event(tx, new.current_state, "m.room.create")
        predecessor = create.content.get("predecessor") if create else None
        old_id = predecessor.get("room_id") if isinstance(predecessor, Mapping) else None
        old = await rooms.get(tx, old_id) if isinstance(old_id, str) else None
        tombstone = await self._states.event(tx, old.current_state, "m.room.tombstone") if old else None
        replaced = tombstone is not None and tombstone.content.get("replacement_room") == new.room_id
        return old if replaced else None

    async def _copy_tags(self, tx: Transaction, user_id: str, old: str, new: str) -> Committed | None:
        tags = await account_data.get(tx, user_id, old, TAG)
        if tags is None or await account_data.get(tx, user_id, new, TAG) is not None:
            return None
        return await _store(tx, user_id, new, TAG, json.loads(tags))

    async def _copy_direct(self, tx: Transaction, user_id: str, old: str, new: str) -> Committed | None:
        """A conversation between two stays one."""
        stored = await account_data.get(tx, user_id, GLOBAL, DIRECT)
        content = json.loads(stored) if stored is not None else {}
        changed = {
            other: [*room_ids, new]
            for other, room_ids in content.items()
            if isinstance(room_ids, list) and old in room_ids and new not in room_ids
        }
        return await _store(tx, user_id, GLOBAL, DIRECT, {**content, **changed}) if changed else None


async def _store(
    tx: Transaction, user_id: str, room_id: str, data_type: str, content: dict[str, object]
) -> Committed | None:
    """Keep it, unless that is more than the user may have: then the old room's settings are not taken over."""
    try:
        return await store(tx, user_id, room_id, data_type, content)
    except MatrixError as too_much:
        if too_much.errcode != "M_TOO_LARGE":
            raise
        return None
