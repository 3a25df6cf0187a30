"""The presence of our users, as their devices and time make it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from homeserver.core import presence as rules
from homeserver.core.presence import OFFLINE, ONLINE, UNAVAILABLE, PresenceState
from homeserver.services import presence_tracker
from homeserver.services.clock import now_ms
from homeserver.services.notifier import Committed
from homeserver.services.presence_news import PresenceChange
from homeserver.services.presence_tracker import PresenceTracker
from tests.support.federation_peer import until
from tests.support.rooms import TickingClock

ALICE, PHONE, LAPTOP = "@alice:test", "PHONE", "LAPTOP"


class News:
    """Notes what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.statuses: list[str | None] = []
        self.repeated: list[str] = []

    def begin(self, changes: Mapping[str, PresenceChange]) -> asyncio.Task[None]:
        for user_id, change in changes.items():
            assert user_id == ALICE
            self.told.append((change.state.presence, change.state.currently_active))
            if change.sets_status:
                self.statuses.append(change.state.status_msg)
        return asyncio.create_task(asyncio.sleep(0))

    async def put(self, changes: Mapping[str, PresenceChange]) -> None:
        await self.begin(changes)

    def repeat(self, user_ids: list[str]) -> None:
        self.repeated += user_ids


class Tracked:
    """A tracker with what it tells, and a clock that the test moves."""

    def __init__(self, clock: TickingClock) -> None:
        self.clock, self.news = clock, News()
        self.tracker = PresenceTracker(self.news, clock)  # type: ignore[arg-type]

    def sync(self, device: str = PHONE, asked: str = ONLINE) -> None:
        self.tracker.begin_sync(ALICE, device, asked)
        self.tracker.end_sync(ALICE, device)

    def later(self, ms: int) -> None:
        """Time passes, and what waits for it looks."""
        self.clock.now += ms
        if ALICE in self.tracker._users:
            self.tracker._timer_fired(ALICE)


@pytest.fixture
def tracked() -> Tracked:
    return Tracked(TickingClock())


async def test_a_device_that_syncs_again_and_again_changes_nothing(tracked: Tracked) -> None:
    for _ in range(5):
        tracked.sync()
        tracked.later(10_000)
    assert tracked.news.told == [(ONLINE, True)]


async def test_a_day_of_a_user(tracked: Tracked) -> None:
    tracker, told = tracked.tracker, tracked.news.told
    tracker.begin_sync(ALICE, PHONE, ONLINE)
    tracked.later(rules.ACTIVE_MS)
    assert told == [(ONLINE, True), (ONLINE, False)]
    tracked.later(rules.IDLE_MS - rules.ACTIVE_MS)
    assert told[2:] == [(UNAVAILABLE, False)]
    tracker.end_sync(ALICE, PHONE)
    tracker.begin_sync(ALICE, PHONE, ONLINE)
    assert told[3:] == [], "to go on as before is no activity"
    tracker.committed(Committed(1, actors=frozenset({ALICE, "@nobody:test"})))
    assert told[3:] == [(ONLINE, True)]
    assert tracker.last_active_ms(ALICE) == tracked.clock.now
    tracked.clock.now += 1
    tracker.active(ALICE)
    assert told[4:] == [] and tracker.last_active_ms(ALICE) == tracked.clock.now
    tracker.end_sync(ALICE, PHONE)
    tracked.later(rules.GONE_MS)
    assert told[4:] == [(OFFLINE, False)]
    assert len(tracker) == 0 and tracker.last_active_ms(ALICE) == 0
    tracker.active(ALICE)
    assert told[5:] == [], "who is not connected does not come online by sending"


async def test_the_most_present_device_counts(tracked: Tracked) -> None:
    told = tracked.news.told
    tracked.tracker.begin_sync(ALICE, PHONE, UNAVAILABLE)
    tracked.sync(LAPTOP)
    assert told == [(UNAVAILABLE, False), (ONLINE, True)]
    tracked.later(rules.GONE_MS)
    assert told[2:] == [(UNAVAILABLE, False)], "the laptop is gone"
    assert tracked.tracker.asked(ALICE, LAPTOP) is None
    assert tracked.tracker.asked(ALICE, PHONE) == UNAVAILABLE


async def test_what_is_set_holds_until_the_next_sync_says_otherwise(tracked: Tracked) -> None:
    told = tracked.news.told
    tracked.sync()
    await tracked.tracker.set(ALICE, PHONE, UNAVAILABLE, "at lunch")
    assert told[-1] == (UNAVAILABLE, False) and tracked.news.statuses == ["at lunch"]
    tracked.sync()
    assert told[-1] == (ONLINE, True)
    await tracked.tracker.set(ALICE, PHONE, OFFLINE, None)
    assert told[-1] == (OFFLINE, False) and tracked.news.statuses == ["at lunch", None]
    assert len(tracked.tracker) == 0
    tracked.tracker.end_sync(ALICE, PHONE)
    tracked.sync()
    assert told[-1] == (ONLINE, True)


async def test_activity_ends_what_was_set(tracked: Tracked) -> None:
    tracked.sync()
    await tracked.tracker.set(ALICE, PHONE, UNAVAILABLE, None)
    tracked.tracker.active(ALICE)
    assert tracked.news.told[-1] == (ONLINE, True)


async def test_other_servers_are_told_again_in_time(tracked: Tracked) -> None:
    tracked.tracker.begin_sync(ALICE, PHONE, UNAVAILABLE)
    tracked.later(presence_tracker.REPEAT_MS - 1)
    assert tracked.news.repeated == []
    tracked.later(1)
    assert tracked.news.repeated == [ALICE]
    tracked.later(presence_tracker.REPEAT_MS)
    assert tracked.news.repeated == [ALICE, ALICE] and len(tracked.news.told) == 1


async def test_after_a_restart(tracked: Tracked) -> None:
    state = PresenceState(ONLINE, None, tracked.clock.now - 5, True)
    tracked.tracker.restore({ALICE: state})
    assert tracked.news.told == [] and tracked.tracker.last_active_ms(ALICE) == state.last_active_ms
    tracked.sync()
    tracked.later(rules.GONE_MS - 1)
    assert tracked.news.told == [], "the user has come back"
    tracked.later(1)
    assert tracked.news.told == [(OFFLINE, False)]


async def test_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACTIVE_MS", 20), ("IDLE_MS", 60), ("GONE_MS", 20)):
        monkeypatch.setattr(rules, name, value)
    news = News()
    tracker = PresenceTracker(news, now_ms)  # type: ignore[arg-type]
    tracker.begin_sync(ALICE, PHONE, ONLINE)
    await until(lambda: len(news.told) == 3)
    tracker.end_sync(ALICE, PHONE)
    await until(lambda: len(news.told) == 4)
    assert news.told == [(ONLINE, True), (ONLINE, False), (UNAVAILABLE, False), (OFFLINE, False)]
    tracker.begin_sync(ALICE, PHONE, ONLINE)
    tracker.stop()
