"""Devices: listing them, naming them, and removing them with all that goes with them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.requester import Requester
from homeserver.services.last_seen import LastSeen
from homeserver.services.sessions import MAX_DEVICE_NAME_LENGTH, Sessions
from homeserver.storage import access_tokens, devices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import Device as Device  # for the handlers that answer them

MAX_DELETED_AT_ONCE = 1_000

RemovalStep = Callable[[Transaction, str, Sequence[str]], Awaitable[None]]
"""What else is removed with a user's devices, in the same unit of work: user ID, device IDs."""


class Devices:
    """The devices of our users. All that ends a device goes through here."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        last_seen: LastSeen,
        removal_steps: Sequence[RemovalStep] = (),
    ) -> None:
        """`removal_steps`: what others keep for a device."""
        self._database = database
        self._sessions = sessions
        self._last_seen = last_seen
        self._removal_steps = removal_steps

    async def of_user(self, user_id: str) -> list[Device]:
        """All devices of a user."""
        stored = await self._database.read(lambda tx: devices.of_user(tx, user_id))
        return [self._last_seen.newest(user_id, device) for device in stored]

    async def get(self, user_id: str, device_id: str) -> Device:
        """One device of a user. Raises M_NOT_FOUND."""
        for device in await self.of_user(user_id):
            if device.device_id == device_id:
                return device
        raise _no_such_device()

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> None:
        """Give a device another name; None leaves it as it is. Raises M_NOT_FOUND, M_TOO_LARGE, M_INVALID_PARAM."""
        if display_name is not None and len(display_name) > MAX_DEVICE_NAME_LENGTH:
            raise MatrixError(
                "M_TOO_LARGE", f"The name of a device has at most {MAX_DEVICE_NAME_LENGTH} characters", 400
            )
        if display_name is not None and "\0" in display_name:
            raise invalid_param("The name of a device must not hold NUL")

        async def work(tx: Transaction) -> bool:
            if display_name is None:
                return await devices.exists(tx, user_id, device_id)
            return await devices.rename(tx, user_id, device_id, display_name)

        if not await self._database.write(work):
            raise _no_such_device()

    async def remove(self, user_id: str, device_ids: Collection[str]) -> None:
        """Remove devices, with their tokens and all else that goes with them. Those that there are not need no removal."""
        known = [device_id for device_id in device_ids if "\0" not in device_id]
        await self._database.write(lambda tx: self._remove(tx, user_id, known))
        self._sessions.end(user_id)

    async def log_out(self, requester: Requester) -> None:
        """End the session of a request: its token, and the device."""
        if requester.device_id is not None:
            await self.remove(requester.user_id, [requester.device_id])
            return
        await self._database.write(lambda tx: access_tokens.remove(tx, requester.token_id))
        self._sessions.end(requester.user_id)

    async def log_out_everywhere(self, user_id: str, *, but: Requester | None = None) -> None:
        """End all sessions of a user. but: whose session stays."""
        await self._database.write(lambda tx: self.remove_all(tx, user_id, but=but))
        self._sessions.end(user_id)

    async def remove_all(self, tx: Transaction, user_id: str, *, but: Requester | None = None) -> None:
        """Remove all devices and tokens, in a unit of work of the caller's, who calls `forget` afterwards."""
        kept = None if but is None else but.device_id
        found = [device.device_id for device in await devices.of_user(tx, user_id)]
        await self._remove(tx, user_id, [device_id for device_id in found if device_id != kept])
        await access_tokens.remove_of_user(tx, user_id, but=None if but is None else but.token_id)

    def forget(self, user_id: str) -> None:
        """A unit of work of the caller's has changed the user's sessions, or ended them: nothing is remembered of them any more."""
        self._sessions.end(user_id)

    async def _remove(self, tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
        await devices.remove(tx, user_id, device_ids)
        for step in self._removal_steps:
            await step(tx, user_id, device_ids)


def _no_such_device() -> MatrixError:
    return not_found("You have no device with this ID")
