"""The presence of users of other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#presence
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final

from homeserver.core.presence import OFFLINE, PresenceState, read_presence_edu
from homeserver.services.clock import Clock
from homeserver.services.notifier import Committed
from homeserver.services.presence_news import PresenceChange, PresenceNews
from homeserver.storage import presence as stored_presence
from homeserver.storage.database import Database

log = logging.getLogger(__name__)

MAX_USERS: Final = 500
"""Of one EDU."""

KEPT: Final = 100_000
"""Users of other servers who are not offline."""

SILENCE_MS = 35 * 60_000
"""A user of whom nothing is heard for so long counts as offline: servers repeat themselves within half an hour."""

SWEEP_S = 60

MAX_STRANGERS: Final = 2_000
"""Users of whom we were told though they share no room with ours, or not yet: a server tells of its users as soon as we join
their room, which may be before we have stored the room."""


class ReceivedPresence:
    """Takes m.presence EDUs."""

    def __init__(self, database: Database, news: PresenceNews, server_name: str, clock: Clock) -> None:
        self._database = database
        self._news = news
        self._server_name = server_name
        self._clock = clock
        # Who is not offline, and when we last heard of them; longest ago first.
        self._heard: OrderedDict[str, int] = OrderedDict()
        self._strangers: OrderedDict[str, PresenceState] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def restore(self, user_ids: Collection[str]) -> None:
        """After a start: these were not offline before."""
        self._note(dict.fromkeys(user_ids, self._clock()))

    async def stop(self) -> None:
        """Forget nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def take(self, origin: str, content: Mapping[str, Any]) -> None:
        """Keep the presence of those users of the server `origin` who share a room with users of ours."""
        now = self._clock()
        told = read_presence_edu(origin, content, now, MAX_USERS)
        if not told:
            log.info("%s sent an m.presence EDU without any valid presence", origin)
            return
        # Strangers until we know better, so that a join that is stored while we look finds them.
        for user_id, state in told.items():
            self._strangers[user_id] = state
            self._strangers.move_to_end(user_id)
        known = await self._database.read(lambda tx: stored_presence.known_to(tx, told, self._server_name))
        for user_id in known:
            self._strangers.pop(user_id, None)
        while len(self._strangers) > MAX_STRANGERS:
            self._strangers.popitem(last=False)
        await self._keep({user_id: told[user_id] for user_id in known})

    def committed(self, news: Committed) -> None:
        """Something has changed in rooms: strangers may be in one of them now."""
        met = self._strangers.keys() & news.newcomers
        if met:
            kept = asyncio.create_task(self._keep({user_id: self._strangers.pop(user_id) for user_id in met}))
            self._tasks.add(kept)
            kept.add_done_callback(self._tasks.discard)

    async def _keep(self, states: Mapping[str, PresenceState]) -> None:
        if not states:
            return
        await self._news.put(
            {user_id: PresenceChange(state, sets_status=True) for user_id, state in states.items()}
        )
        now = self._clock()
        for user_id, state in states.items():
            self._heard.pop(user_id, None)
            if state.presence != OFFLINE:
                self._note({user_id: now})

    def _note(self, heard: Mapping[str, int]) -> None:
        self._heard.update(heard)
        while len(self._heard) > KEPT:
            self._give_up([self._heard.popitem(last=False)[0]])
        if self._timer is None and self._heard:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Give up those of whom nothing is heard."""
        self._timer = None
        earliest = self._clock() - SILENCE_MS
        silent = []
        while self._heard and next(iter(self._heard.values())) <= earliest:
            silent.append(self._heard.popitem(last=False)[0])
        self._give_up(silent)
        self._note({})

    def _give_up(self, user_ids: Collection[str]) -> None:
        if user_ids:
            self._news.begin(dict.fromkeys(user_ids, PresenceChange(PresenceState(OFFLINE))))
