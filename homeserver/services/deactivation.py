"""Deactivating accounts.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.core.requester import Requester
from homeserver.services.background import BackgroundWork
from homeserver.services.confirmation import Confirmation
from homeserver.services.devices import Devices
from homeserver.storage import (
    account_data,
    accounts,
    expiring_tokens,
    filters,
    memberships,
    out_of_room,
    positions,
    profiles,
    push_rules,
)
from homeserver.storage.database import Database, DatabaseError, Transaction

log = logging.getLogger(__name__)

PRESENT = ("join", "invite", "knock")

LeaveRoom = Callable[[str, str], Awaitable[None]]
"""Takes a user out of a room, or refuses its invite: user ID, room ID."""


class Deactivation:
    """Ends accounts: nobody can log in with one, or take its name again."""

    def __init__(
        self,
        database: Database,
        confirmation: Confirmation,
        devices: Devices,
        leave_room: LeaveRoom,
    ) -> None:
        self._database = database
        self._confirmation = confirmation
        self._devices = devices
        self._leave_room = leave_room
        self.work = BackgroundWork("leaving of deactivated users", self._piece)

    async def deactivate(
        self, *, erase: bool, auth: Mapping[str, Any] | None, requester: Requester | None
    ) -> None:
        """Deactivate the account of whoever confirms it. erase: what it sent is redacted for those who come later.

        Raises what `Confirmation.confirm` does. The user leaves all rooms afterwards, one after the other.
        """
        confirmed = await self._confirmation.confirm("deactivate", {"erase": erase}, auth, requester)
        user_id = confirmed.user_id
        await self._database.write(lambda tx: self._end(tx, user_id, erase))
        self._devices.forget(user_id)
        self._confirmation.finish(confirmed)
        self.work.wake()

    async def _end(self, tx: Transaction, user_id: str, erase: bool) -> None:
        await accounts.deactivate(tx, user_id)
        await self._devices.remove_all(tx, user_id)
        await expiring_tokens.remove_of_user(tx, user_id)
        await profiles.remove(tx, user_id)
        if erase:
            # "The server should additionally erase any non-event data associated with the user, such as account data"
            await accounts.erase(tx, user_id, await positions.current(tx))
            await account_data.remove(tx, user_id)
            await push_rules.remove(tx, user_id)
            await filters.remove(tx, user_id)

    async def _piece(self) -> bool:
        """Take the users who are still to leave out of all their rooms."""
        for user_id in await self._database.read(accounts.leaving):
            await self._leave_rooms(user_id)
        return False

    async def _leave_rooms(self, user_id: str) -> None:
        async def rooms(tx: Transaction) -> list[str]:
            inside = await memberships.of_user(tx, user_id, PRESENT)
            outside = [each for each in await out_of_room.of_user(tx, user_id) if each.membership in PRESENT]
            return list(
                dict.fromkeys([*(each.room_id for each in inside), *(each.room_id for each in outside)])
            )

        for room_id in await self._database.read(rooms):
            try:
                await self._leave_room(user_id, room_id)
            except MatrixError as refused:
                log.warning("%s, who is deactivated, could not leave %s: %s", user_id, room_id, refused)
            except DatabaseError:
                raise  # what fails for one room then fails for all, and for a while only
            except Exception:
                log.exception("%s, who is deactivated, could not leave %s", user_id, room_id)
        await self._database.write(lambda tx: accounts.has_left(tx, user_id))
