"""What the presence of our users is just now: which of their devices are connected, and when they last did something.

In memory alone, and only of users who are not offline. A request to /sync costs a few look-ups here; what is kept and told of
are changes, and each user who is not offline has one timer for the next that time brings.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from homeserver.core.presence import OFFLINE, ONLINE, UNAVAILABLE, Device, PresenceState, judge
from homeserver.services.clock import Clock
from homeserver.services.notifier import Committed
from homeserver.services.presence_news import PresenceChange, PresenceNews

REPEAT_MS = 25 * 60_000
"""Other servers may take a user of whom they hear nothing for half an hour to be gone."""

RESTORED = ""
"""The device that stands for those that were connected before the server was restarted."""


@dataclass(slots=True)
class _User:
    """told: the presence that was last told, and whether as currently active; told_ms: when. timer_ms: when the timer fires."""

    devices: dict[str, Device] = field(default_factory=dict)
    last_active_ms: int = 0
    told: tuple[str, bool] = (OFFLINE, False)
    told_ms: int = 0
    timer: asyncio.TimerHandle | None = None
    timer_ms: int = 0


class PresenceTracker:
    """Lives on the event loop's thread; `last_active_ms` may be asked in any."""

    def __init__(self, news: PresenceNews, clock: Clock) -> None:
        """`news` is given what changes."""
        self._news = news
        self._clock = clock
        self._users: dict[str, _User] = {}

    def restore(self, states: Mapping[str, PresenceState]) -> None:
        """After a start: who was not offline before has a moment to come back."""
        now = self._clock()
        for user_id, state in states.items():
            user = _User({RESTORED: Device(state.presence, now)}, state.last_active_ms)
            user.told, user.told_ms = (state.presence, state.currently_active), now
            self._users[user_id] = user
            self._review(user_id)

    def stop(self) -> None:
        """Look at nobody any more."""
        for user in self._users.values():
            if user.timer is not None:
                user.timer.cancel()

    def __len__(self) -> int:
        """How many users are in memory."""
        return len(self._users)

    def last_active_ms(self, user_id: str) -> int:
        """When a user last did something; 0 for one who is offline."""
        user = self._users.get(user_id)
        return user.last_active_ms if user else 0

    def asked(self, user_id: str, device: str) -> str | None:
        """What a device has told last; None for one that is not connected."""
        user = self._users.get(user_id)
        found = user.devices.get(device) if user else None
        return None if found is None or found.is_gone(self._clock()) else found.asked

    def begin_sync(self, user_id: str, device: str, asked: str) -> asyncio.Task[None] | None:
        """A request to /sync of a device begins; what is done when the change that it makes is told of."""
        change = self._note(user_id, device, asked) if self.asked(user_id, device) != asked else None
        if user_id in self._users:
            self._users[user_id].devices[device].syncing += 1
        return change

    def end_sync(self, user_id: str, device: str) -> None:
        """It ends."""
        user = self._users.get(user_id)
        found = user.devices.get(device) if user else None
        if user is None or found is None:
            return
        found.syncing = max(0, found.syncing - 1)
        found.seen_ms = self._clock()
        if not found.syncing:
            self._review(user_id)

    async def set(self, user_id: str, device: str, presence: str, status_msg: str | None) -> None:
        """A device tells what its user's presence is; returns when that is told of."""
        self._note(user_id, device, presence)
        user = self._users.get(user_id)
        told, active = user.told if user else (OFFLINE, False)
        state = PresenceState(told, status_msg, user.last_active_ms if user else 0, active)
        await self._news.put({user_id: PresenceChange(state, sets_status=True)})

    def active(self, user_id: str) -> None:
        """The user has done something: "Any activity [...] will cause the server to automatically set their presence to online"."""
        user = self._users.get(user_id)
        if user is None:
            return
        user.last_active_ms = self._clock()
        if user.told != (ONLINE, True):
            for device in user.devices.values():
                if device.asked == UNAVAILABLE:
                    device.asked = ONLINE
            self._review(user_id)

    def committed(self, news: Committed) -> None:
        """Users of ours may have done something."""
        sent = (stored.event.sender for arrival in news.arrivals for stored in arrival.events)
        for user_id in news.actors.union(sent):
            self.active(user_id)

    def _note(self, user_id: str, device: str, asked: str) -> asyncio.Task[None] | None:
        user = self._users.setdefault(user_id, _User())
        now = self._clock()
        found = user.devices.setdefault(device, Device(asked, now))
        found.asked, found.seen_ms = asked, now
        if asked == ONLINE:
            user.last_active_ms = now
        return self._review(user_id)

    def _review(self, user_id: str) -> asyncio.Task[None] | None:
        """Look at what a user's presence is now, tell of it if it has changed, and see to it that it is looked at in time."""
        user, now = self._users[user_id], self._clock()
        user.devices = {name: device for name, device in user.devices.items() if not device.is_gone(now)}
        found = judge(user.devices.values(), user.last_active_ms, now)
        change = None
        if (found.presence, found.currently_active) != user.told:
            user.told, user.told_ms = (found.presence, found.currently_active), now
            state = PresenceState(found.presence, None, user.last_active_ms, found.currently_active)
            change = self._news.begin({user_id: PresenceChange(state)})
        elif found.presence != OFFLINE and now >= user.told_ms + REPEAT_MS:
            user.told_ms = now
            self._news.repeat([user_id])
        if found.presence == OFFLINE:
            if user.timer is not None:
                user.timer.cancel()
            del self._users[user_id]
        else:
            self._look_again(user_id, min(found.until_ms or now + REPEAT_MS, user.told_ms + REPEAT_MS))
        return change

    def _look_again(self, user_id: str, at_ms: int) -> None:
        """At a time at the latest: a timer that is earlier stays, because what it waits for is mostly put off."""
        user, now = self._users[user_id], self._clock()
        if user.timer is not None and now < user.timer_ms <= at_ms:
            return
        if user.timer is not None:
            user.timer.cancel()
        user.timer_ms = at_ms
        delay = max(0, at_ms - now) / 1000
        user.timer = asyncio.get_running_loop().call_later(delay, self._timer_fired, user_id)

    def _timer_fired(self, user_id: str) -> None:
        user = self._users.get(user_id)
        if user is not None:
            user.timer = None
            self._review(user_id)
