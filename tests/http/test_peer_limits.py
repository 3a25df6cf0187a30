"""rc_federation: the turns of a server's requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from homeserver.config.settings import FederationLimit
from homeserver.config.values import Duration
from homeserver.core.errors import MatrixError
from homeserver.http import SIGNED_REQUEST, PeerLimits, RateLimiter, endpoint
from homeserver.http import peer_limits as module
from tests.http.support import served
from tests.support.federation_peer import until

SIGNED = {"Authorization": "X-Matrix good"}


@dataclass
class World:
    """Limits with a time of the test's own."""

    limits: PeerLimits = field(init=False)
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def with_limit(self, **changes: int) -> PeerLimits:
        """A limit that is wide but for the changes."""
        wide = {
            "window_size": 1_000,
            "sleep_limit": 1_000,
            "sleep_delay": 500,
            "reject_limit": 50,
            "concurrent": 3,
        }
        values = {**wide, **changes}
        limit = FederationLimit(
            window_size=Duration(values["window_size"]),
            sleep_limit=values["sleep_limit"],
            sleep_delay=Duration(values["sleep_delay"]),
            reject_limit=values["reject_limit"],
            concurrent=values["concurrent"],
        )
        return PeerLimits(limit, monotonic=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def ask(limits: PeerLimits, origin: str = "a.test") -> None:
    """A request that is worked on in no time."""
    async with limits.turn(origin):
        pass


async def test_only_so_many_in_a_window_are_not_delayed() -> None:
    world = World()
    limits = world.with_limit(sleep_limit=3)
    for _ in range(3):
        await ask(limits)
    assert world.slept == []
    await ask(limits)
    await ask(limits, "b.test")  # another server has a window of its own
    assert world.slept == [0.5]
    world.now += 1.0
    await ask(limits)
    assert world.slept == [0.5]


async def test_only_so_many_at_once_and_the_others_wait_their_turn() -> None:
    limits = World().with_limit(concurrent=3)
    go_on = asyncio.Event()
    working: list[int] = []

    async def one(number: int, origin: str = "a.test") -> None:
        async with limits.turn(origin):
            working.append(number)
            await go_on.wait()

    tasks = [asyncio.create_task(one(number)) for number in range(5)]
    await until(lambda: len(working) == 3)
    await asyncio.sleep(0)
    assert working == [0, 1, 2]
    other = asyncio.create_task(one(99, "b.test"))
    await until(lambda: 99 in working)
    go_on.set()
    await asyncio.gather(*tasks, other)
    assert working == [0, 1, 2, 99, 3, 4]


async def test_what_is_more_than_may_wait_is_refused() -> None:
    limits = World().with_limit(concurrent=1, reject_limit=2)
    go_on = asyncio.Event()

    async def one() -> None:
        async with limits.turn("a.test"):
            await go_on.wait()

    tasks = [asyncio.create_task(one()) for _ in range(3)]  # one is worked on, two wait
    await asyncio.sleep(0)
    with pytest.raises(MatrixError) as caught:
        await ask(limits)
    assert (caught.value.errcode, caught.value.status) == ("M_LIMIT_EXCEEDED", 429)
    assert caught.value.extra["retry_after_ms"] == 500
    await ask(limits, "b.test")
    tasks[1].cancel()  # who gives up leaves the queue
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    again = asyncio.create_task(one())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(tasks[0], tasks[2], again)
    await ask(limits)


async def test_servers_that_ask_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS", 2)
    world = World()
    limits = world.with_limit(sleep_limit=1)
    async with limits.turn("busy.test"):
        for number in range(5):
            await ask(limits, f"idle{number}.test")
        assert world.slept == []
        await ask(limits, "busy.test")
        assert world.slept == [0.5]  # it was not forgotten while it asked


@endpoint("GET", "/_matrix/federation/v1/event/{event_id}", auth=SIGNED_REQUEST)
async def get_event(event_id: str) -> dict[str, str]:
    """Answers at once."""
    return {"event_id": event_id}


@endpoint("PUT", "/_matrix/federation/v1/send/{txn_id}", auth=SIGNED_REQUEST, in_turn=False)
async def send(txn_id: str) -> dict[str, str]:
    """Is not counted."""
    return {"txn_id": txn_id}


async def test_a_signed_request_over_the_limit_is_told_when_to_come_again() -> None:
    limits = World().with_limit(reject_limit=0, sleep_delay=1_500)
    async with served(get_event, send, limits=RateLimiter({}, limits)) as client:
        answer = await client.get("/_matrix/federation/v1/event/x", headers=SIGNED)
        assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 1_500
        assert answer.headers["Retry-After"] == "2"
        (await client.put("/_matrix/federation/v1/send/x", headers=SIGNED)).ok()
        (await client.get("/_matrix/federation/v1/event/x")).refused(401, "M_UNAUTHORIZED")


async def test_signed_requests_take_their_turns() -> None:
    world = World()
    async with served(get_event, limits=RateLimiter({}, world.with_limit(sleep_limit=2))) as client:
        for _ in range(3):
            (await client.get("/_matrix/federation/v1/event/x", headers=SIGNED)).ok()
    assert world.slept == [0.5]
