"""When and from where devices were last seen: noted in memory, written together once in a while."""

from __future__ import annotations

import logging
from dataclasses import replace

from homeserver.core.requester import Requester
from homeserver.services.background import BackgroundWork
from homeserver.services.clock import Clock
from homeserver.services.sessions import Session
from homeserver.storage import devices
from homeserver.storage.database import Database, DatabaseError
from homeserver.storage.devices import Device, Sighting

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two writes."""
MAX_NOTED = 20_000
"""Sightings that are noted between two writes; more are left out."""
MAX_USER_AGENT_LENGTH = 300


class LastSeen:
    """Notes which devices make requests."""

    def __init__(self, database: Database, now_ms: Clock, interval: float = INTERVAL) -> None:
        """`interval`: seconds between two writes."""
        self._database = database
        self._now_ms = now_ms
        self._noted: dict[tuple[str, str], Sighting] = {}
        self.work = BackgroundWork("noting of when devices were last seen", self._piece, every_s=interval)

    def note(self, who: Requester | Session, ip: str, user_agent: str | None) -> None:
        """A device has made a request, or has logged in: its owner sees from where even if it does nothing more."""
        if who.device_id is None:
            return
        key = (who.user_id, who.device_id)
        if key in self._noted or len(self._noted) < MAX_NOTED:
            agent = None if user_agent is None else _storable(user_agent)
            self._noted[key] = Sighting(*key, self._now_ms(), _storable(ip), agent)

    def newest(self, user_id: str, device: Device) -> Device:
        """The device with what has been noted of it since the last write."""
        noted = self._noted.get((user_id, device.device_id))
        if noted is None:
            return device
        return replace(
            device,
            last_seen_ts=noted.ts,
            last_seen_ip=noted.ip,
            last_seen_user_agent=noted.user_agent,
        )

    async def write(self) -> None:
        """Write what has been noted. Raises DatabaseError; it is then written the next time."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._database.write(lambda tx: devices.seen(tx, noted.values()))
        except BaseException:
            self._noted = noted | self._noted
            raise

    async def stop(self) -> None:
        """Write what has been noted, and no more."""
        await self.work.stop()
        await self.write()

    async def _piece(self) -> bool:
        try:
            await self.write()
        except DatabaseError as error:
            log.warning("when devices were last seen could not be written: %s", error)
        return False


def _storable(text: str) -> str:
    """A header's value as it can be stored: aiohttp hands bytes that are not UTF-8 through as lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:MAX_USER_AGENT_LENGTH]
