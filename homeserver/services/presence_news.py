"""Keeps changes of presence, and tells those of them who share rooms: our clients through the stream, other servers by EDUs.

Changes are written together: those that come while a unit of work runs are the next one. What does not differ from what is kept is
not written and not told.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Final

from homeserver.core.presence import OFFLINE, PRESENCE, PresenceState, presence_edu
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed
from homeserver.services.sender import Sender
from homeserver.services.user_writes import UserWrites
from homeserver.storage import memberships, positions
from homeserver.storage import presence as stored_presence
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

MAX_SERVERS: Final = 500
"""How many servers are told of one user's presence: those that share the most rooms."""

MAX_NEWCOMERS: Final = 50
"""Of how many users who join at once the others are told; more come only when a room is restored or resolved anew."""

MAX_MEMBERS: Final = 200
"""Of how many users of ours a server is told when it joins a room."""

RETRY_S = 10.0
"""How long after changes that could not be written they are tried again, unless others come before."""


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A user's presence has changed. status_msg: replaces the one of before if `sets_status`."""

    state: PresenceState
    sets_status: bool = False

    def after(self, earlier: PresenceChange | None) -> PresenceChange:
        """This change, where an earlier one has not been written yet."""
        if earlier is None or self.sets_status or not earlier.sets_status:
            return self
        return PresenceChange(replace(self.state, status_msg=earlier.state.status_msg), True)

    def applied_to(self, before: PresenceState) -> PresenceState:
        """What the presence is then."""
        status_msg = self.state.status_msg if self.sets_status else before.status_msg
        return replace(
            self.state,
            status_msg=status_msg,
            last_active_ms=max(self.state.last_active_ms, before.last_active_ms),
        )


Told = tuple[dict[str, PresenceState], dict[str, list[str]]]
"""The presence of users of ours, and the servers that are told of each."""


class PresenceNews:
    """Takes changes on the event loop's thread."""

    def __init__(self, writes: UserWrites, sender: Sender, identity: Identity, clock: Clock) -> None:
        self._writes = writes
        self._sender = sender
        self._identity = identity
        self._clock = clock
        self._waiting: dict[str, PresenceChange] = {}
        self._writing: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None

    async def put(self, changes: Mapping[str, PresenceChange]) -> None:
        """Keep changes, by user ID, and tell of them; returns when that is done."""
        await asyncio.shield(self.begin(changes))

    def begin(self, changes: Mapping[str, PresenceChange]) -> asyncio.Task[None]:
        """The same, without waiting for it."""
        for user_id, change in changes.items():
            self._waiting[user_id] = change.after(self._waiting.get(user_id))
        if self._next is None:
            self._next = self._spawn(self._write(self._writing))
        return self._next

    def repeat(self, user_ids: Collection[str]) -> None:
        """Tell other servers what users of ours are now, also if that is not new: they forget those they do not hear of."""
        self._spawn(self._repeat(user_ids))

    async def profile_changed(self, user_id: str) -> None:
        """A user of ours is called otherwise now: the event that tells of it is sent once more.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
        """

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            states = await stored_presence.get_many(tx, [user_id])
            if not states:
                return None, None
            position = await positions.take(tx)
            await stored_presence.put_many(tx, states, position)
            room_ids = await stored_presence.rooms_of(tx, states)
            return None, Committed(position, frozenset(room_ids), frozenset(states))

        await self._writes.run(work)

    def committed(self, news: Committed) -> None:
        """Something has changed in rooms: who comes into one gets to know its members, and they the newcomer."""
        for arrival in news.arrivals:
            if arrival.room is not None and arrival.newcomers:
                self._spawn(self._introduce(arrival.room, arrival.newcomers))

    async def stop(self) -> None:
        """Let what has begun end."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)
        if self._retry is not None:
            self._retry.cancel()

    async def _write(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._writing, self._next = self._next, None
        changes, self._waiting = self._waiting, {}
        try:
            ours = await self._writes.run(lambda tx: self._keep(tx, changes))
        except Exception:
            later = self._waiting.items()
            self._waiting = changes | {user_id: each.after(changes.get(user_id)) for user_id, each in later}
            if self._retry is not None:
                self._retry.cancel()
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self.begin, {})
            raise
        if ours:
            # Who is to be told is looked up apart: of a user in many rooms that takes longer than a writer should.
            self.repeat(ours)

    async def _keep(
        self, tx: Transaction, changes: Mapping[str, PresenceChange]
    ) -> tuple[list[str], Committed | None]:
        """Write what differs from what is there. Returns the users of ours among them."""
        before = await stored_presence.get_many(tx, changes)
        news: dict[str, PresenceState] = {}
        for user_id, change in changes.items():
            state = change.applied_to(before.get(user_id, PresenceState()))
            if state.is_news(before.get(user_id, PresenceState())):
                news[user_id] = state
        if not news:
            return [], None
        position = await positions.take(tx)
        await stored_presence.put_many(tx, news, position)
        room_ids = await stored_presence.rooms_of(tx, news)
        ours = [user_id for user_id in news if self._identity.is_ours(user_id)]
        return ours, Committed(position, frozenset(room_ids), frozenset(ours))

    async def _repeat(self, user_ids: Collection[str]) -> None:
        async def work(tx: Transaction) -> Told:
            states = await stored_presence.get_many(tx, user_ids)
            return states, await stored_presence.servers_of(tx, states, MAX_SERVERS)

        self._tell(await self._writes.read(work))

    async def _introduce(self, room: Room, joined: frozenset[str]) -> None:
        """Members who are not offline: those who have just joined are told to the room, as if they had just changed; and the
        servers of newcomers of other servers are told of our members."""
        ours = [user_id for user_id in joined if self._identity.is_ours(user_id)]
        others = joined.difference(ours)
        newcomers = [*ours, *(others if len(others) <= MAX_NEWCOMERS else ())][:MAX_NEWCOMERS]
        servers = {user_id.partition(":")[2] for user_id in newcomers} - {self._identity.server_name}
        if not newcomers:
            return

        async def work(tx: Transaction) -> tuple[Told, Committed | None]:
            if (await memberships.joined_counts(tx, [room.room_nid])).get(room.room_nid, 0) < 2:
                return ({}, {}), None
            present = _present(await stored_presence.get_many(tx, newcomers))
            told = {user_id: state for user_id, state in present.items() if user_id in ours}
            to: dict[str, list[str]] = {}
            if told:
                to = dict.fromkeys(told, (await memberships.joined_servers(tx, room.room_nid))[:MAX_SERVERS])
            if servers:
                own_name = self._identity.server_name
                members = await memberships.local_users(tx, room.room_nid, own_name, ("join",))
                there = _present(await stored_presence.get_many(tx, members[:MAX_MEMBERS]))
                to |= {user_id: [*to.get(user_id, ()), *servers] for user_id in there}
                told |= there
            if not present:
                return (told, to), None
            position = await positions.take(tx)
            await stored_presence.put_many(tx, present, position)
            return (told, to), Committed(position, frozenset({room.room_id}))

        self._tell(await self._writes.run(work))

    def _tell(self, told: Told) -> None:
        """Send each state to the servers that are told of it."""
        states, servers = told
        now = self._clock()
        for user_id, state in states.items():
            to = set(servers.get(user_id, ())) - {self._identity.server_name}
            if to:
                self._sender.queue_edu(to, PRESENCE, presence_edu(user_id, state, now), replaces=user_id)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("presence could not be kept or told of", exc_info=task.exception())


def _present(states: Mapping[str, PresenceState]) -> dict[str, PresenceState]:
    return {user_id: state for user_id, state in states.items() if state.presence != OFFLINE}
