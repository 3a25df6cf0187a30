"""Work in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from homeserver.services import background
from homeserver.services.background import BackgroundWork


class Pile:
    """Something to do, piece by piece."""

    def __init__(self) -> None:
        self.left = 0
        self.done = 0
        self.failures = 0

    async def piece(self) -> bool:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not today")
        if not self.left:
            return False
        self.left -= 1
        self.done += 1
        return True


@pytest.fixture
def pile() -> Pile:
    return Pile()


@pytest.fixture
async def work(pile: Pile) -> AsyncIterator[BackgroundWork]:
    made = BackgroundWork("test", pile.piece)
    yield made
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the work tells nobody
            await asyncio.sleep(0.001)


async def test_what_is_left_from_before_is_done(work: BackgroundWork, pile: Pile) -> None:
    pile.left = 3
    work.start()
    await until(lambda: pile.done == 3)


async def test_it_waits_until_it_is_woken(work: BackgroundWork, pile: Pile) -> None:
    work.start()
    pile.left = 1
    work.wake()
    await until(lambda: pile.done == 1)
    pile.left = 2
    for _ in range(20):
        await asyncio.sleep(0)
    assert pile.done == 1
    work.wake()
    await until(lambda: pile.done == 3)


async def test_failures_are_told_and_tried_again(
    work: BackgroundWork, pile: Pile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "RETRY_S", 0.001)
    pile.left, pile.failures = 2, 2
    work.start()
    await until(lambda: pile.done == 2)
    told = [record for record in caplog.records if record.exc_info]
    assert len(told) == 2 and "test failed" in told[0].getMessage()


async def test_it_can_be_stopped_before_it_starts(work: BackgroundWork) -> None:
    await work.stop()


async def test_it_looks_once_in_a_while(pile: Pile) -> None:
    work = BackgroundWork("test", pile.piece, every_s=0.001)
    work.start()
    pile.left = 1
    await until(lambda: pile.done == 1)
    pile.left = 1
    await until(lambda: pile.done == 2)
    await work.stop()


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("every_s", [None, 60.0])
async def test_it_can_be_stopped_at_any_moment(pile: Pile, every_s: float | None, turns: int) -> None:
    work = BackgroundWork("test", pile.piece, every_s=every_s)
    pile.left = 2
    work.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await work.stop()
