"""Presence, as clients ask for it and set it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from homeserver.config import PresenceSettings, RateLimit
from homeserver.core.errors import bad_json, forbidden, invalid_param, limit_exceeded, too_large
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.presence import MAX_STATUS_BYTES, OFFLINE, ONLINE, PresenceState, is_valid_status
from homeserver.core.requester import Requester
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.clock import Clock
from homeserver.services.presence_tracker import PresenceTracker
from homeserver.storage import memberships
from homeserver.storage import presence as stored_presence
from homeserver.storage.database import Database, Transaction


class Presence:
    """Reads and sets presence. Where it is switched off everybody is offline, and what is set has no effect."""

    def __init__(
        self,
        database: Database,
        tracker: PresenceTracker | None,
        settings: PresenceSettings,
        limit: RateLimit,
        clock: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tracker`: None when presence is switched off. `limit`: how often a user may change it."""
        self._database = database
        self._tracker = tracker
        self._settings = settings
        self._buckets = TokenBuckets(limit)
        self._clock = clock
        self._monotonic = monotonic

    @property
    def is_on(self) -> bool:
        """Whether there is presence at all."""
        return self._tracker is not None

    @property
    def shows_offline_users(self) -> bool:
        """Whether an initial sync brings the presence of those who are offline too."""
        return self._settings.include_offline_users_on_sync

    async def get(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """The presence of a user. Raises M_INVALID_PARAM, and M_FORBIDDEN for users with whom the requester shares no room.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
        """
        _check_user_id(user_id)
        if self._settings.enabled is False:
            return {"presence": OFFLINE}

        async def work(tx: Transaction) -> PresenceState | None:
            if user_id != requester.user_id and not await memberships.share_room(
                tx, requester.user_id, user_id
            ):
                return None
            return (await stored_presence.get_many(tx, [user_id])).get(user_id, PresenceState())

        state = await self._database.read(work)
        if state is None:
            raise forbidden("You are not allowed to see their presence")
        return self.content(user_id, state) if self.is_on else {"presence": OFFLINE}

    async def set(self, requester: Requester, user_id: str, presence: str, status_msg: str | None) -> None:
        """Set the requester's presence and status message; None: no message.

        Raises M_INVALID_PARAM, M_FORBIDDEN for other users, M_BAD_JSON and M_TOO_LARGE for the message, M_LIMIT_EXCEEDED.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
        """
        _check_user_id(user_id)
        if requester.user_id != user_id:
            raise forbidden("You can only set your own presence")
        if status_msg is not None and not is_valid_status(status_msg):
            if "\0" in status_msg:
                raise bad_json("A status message holds no NUL - at `$.status_msg`")
            raise too_large(f"A status message has at most {MAX_STATUS_BYTES} bytes")
        if self._tracker is None:
            return
        wait_ms = self._buckets.take(user_id, self._monotonic())
        if wait_ms:
            raise limit_exceeded("Too many changes of presence", wait_ms)
        await self._tracker.set(user_id, _device(requester), presence, status_msg)

    @asynccontextmanager
    async def syncing(self, requester: Requester, asked: str | None) -> AsyncIterator[None]:
        """While a request to /sync is answered. asked: its `set_presence`; None is `online`.

        What changes too often is put off to a later request. Spec: `set_presence` of
        https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
        """
        tracker, user_id, device = self._tracker, requester.user_id, _device(requester)
        asked = asked or ONLINE
        if tracker is None or asked == OFFLINE:
            yield
            return
        before = tracker.asked(user_id, device)
        if before != asked and self._buckets.take(user_id, self._monotonic()):
            if before is None:
                yield
                return
            asked = before
        change = tracker.begin_sync(user_id, device, asked)
        try:
            if change is not None:
                await asyncio.shield(change)
            yield
        finally:
            tracker.end_sync(user_id, device)

    def content(self, user_id: str, state: PresenceState) -> dict[str, Any]:
        """What clients are told of a user now; the time of the last activity is as new as we know it. Of use in any thread."""
        last_active_ms = self._tracker.last_active_ms(user_id) if self._tracker else 0
        newest = replace(state, last_active_ms=max(last_active_ms, state.last_active_ms))
        return newest.content(self._clock())


def _check_user_id(user_id: str) -> None:
    if not is_valid_user_id(user_id):
        raise invalid_param(f"{user_id[:255]!r} is not a user ID")


def _device(requester: Requester) -> str:
    """What stands for the device of an access token."""
    return requester.device_id or f"token {requester.token_id}"
