"""What presence costs: nothing while nothing changes, and little when many change at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeserver.config import PresenceSettings, RateLimit
from homeserver.core.requester import Requester
from homeserver.services.notifier import Committed
from homeserver.services.presence import Presence
from homeserver.services.presence_news import PresenceNews
from homeserver.services.presence_tracker import PresenceTracker
from homeserver.services.user_writes import UserWrites
from tests.services.test_cost import CountingDatabase
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL = "@alice:ours.test", "@bob:ours.test", "@carol:ours.test"


@dataclass
class Counted:
    """Presence with what it writes, tells our clients and sends to other servers."""

    services: RoomServices
    committed: list[Committed] = field(default_factory=list)
    edus: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = CountingDatabase(self.services.database)
        writes = UserWrites(self.database, self.committed.append)
        self.news = PresenceNews(writes, self, self.services.identity, self.services.clock)  # type: ignore[arg-type]
        self.tracker = PresenceTracker(self.news, self.services.clock)
        limit = RateLimit(per_second=1000, burst_count=1000)
        self.presence = Presence(self.database, self.tracker, PresenceSettings(), limit, self.services.clock)

    def queue_edu(
        self, names: Iterable[str], edu_type: str, content: Mapping[str, Any], *, replaces: object = None
    ) -> None:
        self.edus += names

    async def sync(self, user_id: str) -> None:
        async with self.presence.syncing(Requester(user_id, "DEVICE", 1), None):
            pass

    @property
    def units(self) -> int:
        """How many units of work have changed something."""
        return sum("UPDATE positions" in statement for statement in self.database.statements)


@pytest.fixture
async def counted(services: RoomServices) -> Any:
    made = Counted(services)
    yield made
    await made.news.stop()
    made.tracker.stop()


async def test_who_goes_on_syncing_costs_no_statement(counted: Counted) -> None:
    await counted.sync(ALICE)
    before = len(counted.database.statements)
    assert counted.units == 1
    for _ in range(100):
        await counted.sync(ALICE)
        counted.services.clock.now += 500
    assert len(counted.database.statements) == before


async def test_activity_costs_no_statement(counted: Counted) -> None:
    await counted.sync(ALICE)
    before = len(counted.database.statements)
    for _ in range(100):
        counted.tracker.active(ALICE)
        counted.services.clock.now += 100
    assert len(counted.database.statements) == before


async def test_many_who_come_at_once_share_their_writes(counted: Counted) -> None:
    await asyncio.gather(*(counted.sync(f"@user{number}:ours.test") for number in range(50)))
    assert counted.units <= 3
    assert len(counted.tracker) == 50


async def test_those_who_share_a_room_are_told_and_nobody_else(
    counted: Counted, services: RoomServices
) -> None:
    shared, other = await services.room(ALICE), await services.room(CAROL)
    await services.join(shared, BOB)
    await counted.sync(ALICE)
    (told,) = counted.committed
    assert told.rooms == {shared} and told.users == {ALICE} and other not in told.rooms
    assert counted.edus == [], "no other server is in the room"
