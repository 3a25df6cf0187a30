"""Upgrading rooms: a new room of another version takes the place of an old one.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.room_versions import RoomRules, UnknownRoomVersion, rules_for
from homeserver.core.state_map import Digest
from homeserver.services import upgrade_plan
from homeserver.services.event_access import joined_room
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.notifier import Committed
from homeserver.services.replaced_rooms import ReplacedRooms
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft, Timeline
from homeserver.services.upgrade_plan import NEEDED, SPACE_CHILD, TOMBSTONE, OldRoom
from homeserver.storage import aliases, memberships, rooms
from homeserver.storage import events as stored_events
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

MAX_CREATORS = 100
MAX_CHILDREN = 2_000
MAX_BANS = 10_000
"""How much is copied; what is more is left out, so that nobody waits for long."""

BATCH = 100

ATTEMPTS = 5
BODY = "This room has been replaced"


class _StateMoved(Exception):
    """The old room is no longer as the new one was planned from."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """The old room, and its state when it was read."""

    old: OldRoom
    state: Digest


class RoomUpgrades:
    """Replaces rooms."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        profiles: MemberProfiles,
        replaced: ReplacedRooms,
    ) -> None:
        """`replaced` takes over what the upgrading user has set for the room."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._profiles = profiles
        self._replaced = replaced
        self._running: dict[tuple[str, str, str], asyncio.Task[str]] = {}

    async def upgrade(
        self, user_id: str, room_id: str, new_version: str, additional_creators: Sequence[str]
    ) -> str:
        """Replace a room with one of a version; returns the ID of the new room.

        The new room with all its state, the tombstone, the aliases and the place in the directory change at once or not at all.
        Who asks for the same while it is done gets the same answer. Raises M_FORBIDDEN, M_UNSUPPORTED_ROOM_VERSION,
        M_INVALID_PARAM.
        """
        try:
            rules = rules_for(new_version)
        except UnknownRoomVersion as unknown:
            raise errors.unsupported_room_version(
                f"This server does not know room version {new_version[:60]!r}"
            ) from unknown
        # "When upgrading to a room version which doesn't support additional creators, this field is ignored"
        creators = (
            [each for each in additional_creators if each != user_id] if rules.privileged_creators else []
        )
        if len(creators) > MAX_CREATORS or not all(is_valid_user_id(each) for each in creators):
            raise errors.invalid_param(f"additional_creators is a list of at most {MAX_CREATORS} user IDs")
        key = (user_id, room_id, new_version)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.ensure_future(
                self._upgrade(user_id, room_id, rules, creators)
            )
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _upgrade(self, user_id: str, room_id: str, rules: RoomRules, creators: Sequence[str]) -> str:
        profile = await self._profiles.fields(user_id)
        for _ in range(ATTEMPTS):
            planned = await self._database.read(lambda tx: self._plan(tx, user_id, room_id))
            try:
                new_room = await self._timeline.create_room(
                    rules.version,
                    user_id,
                    upgrade_plan.create_content(planned.old, rules, creators),
                    upgrade_plan.drafts(planned.old, rules, user_id, profile, creators),
                    beside=partial(self._retire, user_id, planned),
                )
            except _StateMoved:
                continue
            await self._send(new_room, upgrade_plan.later(planned.old, user_id))
            log.info("%s has upgraded %s to version %s: %s", user_id, room_id, rules.version, new_room)
            await self._replaced.carry_over(user_id, new_room)
            return new_room
        raise errors.unknown("The room changes all the time: try again later", 503)

    async def _send(self, room_id: str, drafts: Sequence[Draft]) -> None:
        """Send what was too much for the beginning of the room, as far as the user may."""
        try:
            for start in range(0, len(drafts), BATCH):
                await self._timeline.send_many(room_id, drafts[start : start + BATCH])
        except MatrixError as refused:
            log.warning("not everything is copied to the new room %s: %s", room_id, refused.message)

    async def _plan(self, tx: Transaction, user_id: str, room_id: str) -> _Planned:
        """Read what there is of the old room. Raises M_FORBIDDEN."""
        room = await joined_room(tx, room_id, user_id)
        ends = await stored_events.forward_extremities(tx, room.room_nid)
        last = max(ends, key=lambda end: (end.event.depth, end.position or 0))
        old = OldRoom(
            room_id,
            await self._states.events(tx, room.current_state, NEEDED),
            last.event.event_id,
            await self._children(tx, room),
            await self._banned(tx, room),
            await aliases.of_room(tx, room_id),
        )
        if not upgrade_plan.is_upgrader(old, user_id):
            raise errors.forbidden("Your power level does not allow you to upgrade this room")
        return _Planned(old, room.current_state)

    async def _children(self, tx: Transaction, room: Room) -> dict[str, Mapping[str, Any]]:
        """The children of a space, those that were taken out left out."""
        ids = await self._states.ids_of_type(tx, room.current_state, SPACE_CHILD)
        found = await _contents(tx, list(ids.values())[:MAX_CHILDREN])
        return {
            room_id: content for room_id, content in found.items() if isinstance(content.get("via"), list)
        }

    async def _banned(self, tx: Transaction, room: Room) -> dict[str, Mapping[str, Any]]:
        banned = await memberships.of_room(tx, room.room_nid, ("ban",))
        return await _contents(tx, [each.event_id for each in banned[:MAX_BANS]])

    async def _retire(self, user_id: str, planned: _Planned, tx: Transaction, new: Room) -> Committed:
        """What the old room's end is, in the unit of work that makes the new one."""
        old = await rooms.get(tx, planned.old.room_id)
        if old is None or old.current_state != planned.state:
            raise _StateMoved
        tombstone = Draft(user_id, TOMBSTONE, {"body": BODY, "replacement_room": new.room_id}, "")
        closing = upgrade_plan.closing(planned.old, user_id)
        committed = await self._timeline.add_within(tx, old.room_id, [tombstone], where_allowed=closing)
        await aliases.move(tx, old.room_id, new.room_id)
        if old.published:
            await rooms.set_published(tx, old.room_nid, False)
            await rooms.set_published(tx, new.room_nid, True)
        return committed


async def _contents(tx: Transaction, event_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The contents of state events of one type, by state key."""
    found = await stored_events.load_accepted(tx, event_ids)
    return {event.key[1]: event.content for event in found.values()}
