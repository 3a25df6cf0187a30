"""Our users in a room and what push rules ask about it, remembered by the room's state: what follows from it never changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.core.push_rules import PushContext
from homeserver.core.state_map import Digest
from homeserver.services.room_state import RoomStates
from homeserver.storage import memberships
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

MAX_MEMBERS = 200_000
"""Of ours, in all rooms together that are remembered."""


@dataclass(slots=True)
class Audience:
    """members: our users who are joined. names: what those of them are called who were asked for; None: nothing."""

    members: frozenset[str]
    context: PushContext
    names: dict[str, str | None] = field(default_factory=dict)


class Audiences:
    """Knows who is in the rooms that events come to.

    To be asked in the unit of work that moves the room's state, after it.
    """

    def __init__(self, states: RoomStates, server_name: str) -> None:
        """`server_name` is ours."""
        self._states = states
        self._server_name = server_name
        self._known: OrderedDict[tuple[int, Digest], Audience] = OrderedDict()
        self._size = 0

    async def of(self, tx: Transaction, room: Room, before: Digest, root: Digest) -> Audience:
        """Who is in a room with this current state. before: the one that it followed."""
        key = (room.room_nid, root)
        audience = self._known.get(key)
        if audience is None:
            audience = self._known[key] = await self._following(tx, room, before, root)
            self._size += 1 + len(audience.members)
            while self._size > MAX_MEMBERS and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._size -= 1 + len(oldest.members)
        else:
            self._known.move_to_end(key)
        return audience

    async def names(
        self, tx: Transaction, audience: Audience, root: Digest, user_ids: list[str]
    ) -> dict[str, str]:
        """What some members are called in the room; those without a name are left out."""
        unknown = [user_id for user_id in user_ids if user_id not in audience.names]
        if unknown:
            keys = [("m.room.member", user_id) for user_id in unknown]
            events = await self._states.events(tx, root, keys)
            for key in keys:
                name = events[key].content.get("displayname") if key in events else None
                audience.names[key[1]] = name if isinstance(name, str) else None
        return {user_id: name for user_id in user_ids if (name := audience.names[user_id])}

    async def _following(self, tx: Transaction, room: Room, before: Digest, root: Digest) -> Audience:
        """As `_load`, but what has not changed is not read again."""
        earlier = self._known.get((room.room_nid, before))
        if earlier is None:
            return await self._load(tx, room, root)
        changed = await self._states.changes(tx, before, root)
        members = [key[1] for key in changed if key[0] == "m.room.member"]
        if POWER_LEVELS in changed or any(each.partition(":")[2] == self._server_name for each in members):
            return await self._load(tx, room, root)
        if not members or not earlier.members:
            return earlier
        count = (await memberships.joined_counts(tx, [room.room_nid]))[room.room_nid]
        return Audience(earlier.members, replace(earlier.context, member_count=count), earlier.names)

    async def _load(self, tx: Transaction, room: Room, root: Digest) -> Audience:
        members = await memberships.local_users(tx, room.room_nid, self._server_name, ("join",))
        if not members:
            return Audience(frozenset(), PushContext(0))
        count = (await memberships.joined_counts(tx, [room.room_nid]))[room.room_nid]
        state = await self._states.events(tx, root, [CREATE, POWER_LEVELS])
        levels = power_levels_of(state) if CREATE in state else None
        return Audience(frozenset(members), PushContext(count, levels))
