"""Tells rooms of the new display names and avatars of our users: in the background, a few rooms at a time.

What is to be told stands in the database, so that a restart loses nothing; what a room is told is the profile as it is then.
Spec: https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.services.background import BackgroundWork
from homeserver.services.member_profiles import MEMBER_FIELDS, MemberProfiles
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, profile_propagations
from homeserver.storage.database import Database, DatabaseError, Transaction
from homeserver.storage.profile_propagations import Propagation

log = logging.getLogger(__name__)

MEMBER = "m.room.member"

USERS_AT_ONCE = 20
ROOMS_AT_ONCE = 5
"""How many rooms of a user are told before it is another user's turn."""

PAUSE_S = 0.01
"""After each room: nobody else waits because somebody is in very many rooms."""

SETTLE_S = 3.0
"""Who changes a profile again and again has rooms told of it this often at most; the first change is told at once."""

OF_ONE_EVENT = frozenset({"reason", "join_authorised_via_users_server", "third_party_invite", "is_direct"})
"""What a member event says of how the membership came about, which the next one does not repeat."""


class ProfilePropagation:
    """Brings the member events of our users up to date with their profiles."""

    def __init__(self, database: Database, timeline: Timeline, profiles: MemberProfiles) -> None:
        self._database = database
        self._timeline = timeline
        self._profiles = profiles
        self._last_user = ""
        self._begun: dict[str, float] = {}
        self.work = BackgroundWork("propagation of profiles", self._piece, pause_s=PAUSE_S)

    async def _piece(self) -> bool:
        """Tell a few rooms of each of some users, whose turn it is; whether there may be more."""
        found = await self._database.read(
            lambda tx: profile_propagations.pending(tx, self._last_user, USERS_AT_ONCE)
        )
        started_over = self._last_user == ""
        self._last_user = found[-1].user_id if len(found) == USERS_AT_ONCE else ""
        for propagation in found:
            if self._is_due(propagation):
                await self._tell_some(propagation)
        return bool(found) or not started_over

    def _is_due(self, propagation: Propagation) -> bool:
        """Whether it is in the middle of it, or the rooms have not been told of an earlier change just now."""
        now = asyncio.get_running_loop().time()
        if propagation.after_room_nid > 0:
            return True
        self._begun = {user_id: at for user_id, at in self._begun.items() if now < at + SETTLE_S}
        if propagation.user_id in self._begun:
            return False
        self._begun[propagation.user_id] = now
        return True

    async def _tell_some(self, propagation: Propagation) -> None:
        user_id = propagation.user_id
        batch = await self._database.read(
            lambda tx: memberships.joined_rooms(
                tx, user_id, after=propagation.after_room_nid, limit=ROOMS_AT_ONCE
            )
        )
        for room_id, event_id in batch.values():
            await self._tell(user_id, room_id, event_id)
            await asyncio.sleep(PAUSE_S)
        if len(batch) < ROOMS_AT_ONCE:
            await self._database.write(lambda tx: profile_propagations.finish(tx, propagation))
        else:
            last = max(batch)
            await self._database.write(lambda tx: profile_propagations.advance(tx, propagation, last))

    async def _tell(self, user_id: str, room_id: str, event_id: str) -> None:
        """Send the user's member event again, if the profile is another by now; rooms that do not want it are left as they are."""
        try:
            content = await self._content(user_id, event_id)
            if content is not None:
                await self._timeline.send(room_id, Draft(user_id, MEMBER, content, user_id))
        except MatrixError as refused:
            log.info("%s is not told of the new profile of %s: %s", room_id, user_id, refused.message)
        except DatabaseError:
            raise
        except Exception:
            log.exception("%s could not be told of the new profile of %s", room_id, user_id)

    async def _content(self, user_id: str, event_id: str) -> dict[str, Any] | None:
        """The member event's content with the profile of now; None when it says so already, or the user is in the room no more."""

        async def work(tx: Transaction) -> dict[str, Any] | None:
            stored = await stored_events.get(tx, event_id)
            return dict(stored.event.content) if stored is not None else None

        before = await self._database.read(work)
        fields = await self._profiles.fields(user_id)
        if before is None or before.get("membership") != "join":
            return None
        if fields == {name: before[name] for name in MEMBER_FIELDS if name in before}:
            return None
        kept = {
            key: value
            for key, value in before.items()
            if key not in OF_ONE_EVENT and key not in MEMBER_FIELDS
        }
        return {**kept, **fields}
