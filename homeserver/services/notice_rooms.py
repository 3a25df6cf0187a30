"""The rooms in which this server tells its users something: made when they are needed, one for each user.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from homeserver.config import ServerNotices as ServerNoticesSettings
from homeserver.core.errors import MatrixError
from homeserver.core.requester import Requester
from homeserver.services import account_data as user_data
from homeserver.services.clock import now_ms
from homeserver.services.invitations import Invitations
from homeserver.services.membership import Membership
from homeserver.services.notifier import Committed
from homeserver.services.profiles import AVATAR_URL, DISPLAYNAME, Profiles
from homeserver.services.room_creation import InitialState, NewRoom, RoomCreation
from homeserver.services.tags import TAG
from homeserver.services.user_writes import UserWrites
from homeserver.storage import account_data, accounts, memberships, rooms, server_notices
from homeserver.storage.accounts import Account
from homeserver.storage.database import Transaction

log = logging.getLogger(__name__)

NOTICE_TAG = "m.server_notice"
WHO_MAY_WRITE = {"users_default": -10}
"""Nobody but who sends the notices."""


class NoticeRooms:
    """Finds a user's room, or makes it; sees to it that the user is in it or invited, and that it has its tag."""

    def __init__(
        self,
        writes: UserWrites,
        creation: RoomCreation,
        invitations: Invitations,
        membership: Membership,
        profiles: Profiles,
        settings: ServerNoticesSettings,
        sender: str,
    ) -> None:
        """`sender`: the user ID that notices come from."""
        self._writes = writes
        self._creation = creation
        self._invitations = invitations
        self._membership = membership
        self._profiles = profiles
        self._settings = settings
        self.sender = sender
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Make the account that notices come from, before somebody else takes its name, and give it its profile."""
        account = Account(self.sender, None, False, False, False, None, now_ms())

        async def work(tx: Transaction) -> tuple[bool, None]:
            known = await accounts.get(tx, self.sender)
            if known is None:
                await accounts.add(tx, account)
            return known is not None and known.password_hash is not None, None

        if await self._writes.run(work):
            log.warning("server_notices: %s is the account of somebody who can log in", self.sender)
        settings = self._settings
        await self._name(DISPLAYNAME, settings.system_mxid_display_name)
        await self._name(AVATAR_URL, settings.system_mxid_avatar_url)

    async def room_for(self, user_id: str) -> str:
        """The ID of the user's room. The user is in it, or invited to it. Raises M_INVITE_BLOCKED."""
        async with self._lock:
            room_id = await self._writes.read(lambda tx: server_notices.room_of(tx, user_id))
            if room_id is None:
                room_id = await self._creation.create(self.sender, self._new_room())
            chosen = room_id
            await self._writes.run(lambda tx: _note(tx, user_id, chosen))
            await self._bring_in(user_id, room_id)
            return room_id

    async def _name(self, field: str, value: str | None) -> None:
        requester = Requester(self.sender, None, 0)
        try:
            await self._profiles.set_field(requester, self.sender, field, {field: value or ""})
        except MatrixError as wrong:
            log.warning("server_notices: the %s of %s cannot be set: %s", field, self.sender, wrong.message)

    def _new_room(self) -> NewRoom:
        settings = self._settings
        avatar: tuple[InitialState, ...] = ()
        if settings.room_avatar_url is not None:
            avatar = (InitialState("m.room.avatar", {"url": settings.room_avatar_url}),)
        return NewRoom(
            name=settings.room_name,
            topic=settings.room_topic,
            preset="private_chat",
            initial_state=avatar,
            power_level_content_override=WHO_MAY_WRITE,
        )

    async def _bring_in(self, user_id: str, room_id: str) -> None:
        """ "Servers should invite the target user rather than automatically join them" """

        async def work(tx: Transaction) -> str | None:
            room = await rooms.get(tx, room_id)
            now = await memberships.get(tx, room.room_nid, user_id) if room else None
            return now.membership if now else None

        now = await self._writes.read(work)
        if now not in ("join", "invite"):
            # However many users an administrator tells something: those limits are for people.
            await self._invitations.invite(room_id, self.sender, user_id, {}, counted=True)
        if now != "join" and self._settings.auto_join:
            await self._membership.join(user_id, room_id)


async def _note(tx: Transaction, user_id: str, room_id: str) -> tuple[None, Committed | None]:
    """Keep which room it is, and give it the tag by which clients know it."""
    await server_notices.set_room(tx, user_id, room_id)
    stored = await account_data.get(tx, user_id, room_id, TAG)
    tags: Any = json.loads(stored).get("tags") if stored is not None else None
    tags = tags if isinstance(tags, dict) else {}
    if NOTICE_TAG in tags:
        return None, None
    content = {"tags": {**tags, NOTICE_TAG: {}}}
    return None, await user_data.store(tx, user_id, room_id, TAG, content)
