"""Who waits is woken by what changed, at once, and the notifier forgets what nobody needs."""

import asyncio
from dataclasses import fields

import pytest

from homeserver.services import notifier as module
from homeserver.services.notifier import Arrival, Committed, Notifier
from homeserver.storage.rooms import Room

ROOM_ROW = Room(1, "!room:ours.test", "12", 1, b"after", published=False)
ROOM, OTHER, USER = "!room:ours.test", "!other:ours.test", "@alice:ours.test"


async def waiting(notifier: Notifier, *topics: str, after: int = 0) -> asyncio.Task[bool]:
    """Somebody who waits, and has begun to."""
    task = asyncio.create_task(notifier.wait(topics, after=after, timeout_ms=60_000))
    await asyncio.sleep(0)
    return task


async def test_a_change_wakes_who_waits_for_the_room_or_the_user() -> None:
    notifier = Notifier(0)
    by_room, by_user = await waiting(notifier, ROOM, OTHER), await waiting(notifier, USER)
    other = await waiting(notifier, OTHER)
    notifier.committed(Committed(1, frozenset({ROOM}), frozenset({USER})))
    assert await by_room and await by_user
    assert not other.done()
    other.cancel()


async def test_what_changed_before_the_wait_began_is_not_missed() -> None:
    notifier = Notifier(3)
    notifier.committed(Committed(5, frozenset({ROOM})))
    assert await notifier.wait([ROOM], after=4, timeout_ms=60_000)
    assert not await notifier.wait([ROOM], after=5, timeout_ms=1)
    assert not await notifier.wait([OTHER], after=4, timeout_ms=0)


async def test_who_has_read_less_than_was_there_at_start_reads_again() -> None:
    assert await Notifier(10).wait([ROOM], after=9, timeout_ms=60_000)


async def test_commits_that_are_told_of_out_of_order_count_by_position() -> None:
    notifier = Notifier(0)
    notifier.committed(Committed(2, frozenset({ROOM})))
    notifier.committed(Committed(1, frozenset({ROOM})))
    assert notifier.position == 2 and notifier.changed_since([ROOM], 1)


async def test_waiting_leaves_nothing_behind() -> None:
    notifier = Notifier(0)
    assert not await notifier.wait([ROOM, USER, ROOM], after=0, timeout_ms=1)
    cancelled = await waiting(notifier, *(f"!{number}:ours.test" for number in range(100)))
    assert len(notifier) == 100
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert len(notifier) == 0


async def test_memory_is_bounded_and_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOPICS_KEPT", 10)
    notifier = Notifier(0)
    waiter = await waiting(notifier, ROOM)
    for position in range(1, 101):
        notifier.committed(Committed(position, frozenset({f"!{position}:ours.test"})))
        assert len(notifier) <= 12
    # the newest are known, of those that are forgotten it is said that they may have changed
    assert not notifier.changed_since([ROOM], 100)
    assert notifier.changed_since(["!100:ours.test"], 99)
    assert not notifier.changed_since(["!100:ours.test"], 100)
    assert notifier.changed_since(["!1:ours.test"], 0)
    notifier.committed(Committed(101, frozenset({ROOM})))
    assert await waiter


async def test_what_has_no_position_wakes_who_waits_now_and_nobody_later() -> None:
    notifier = Notifier(0)
    here, other = await waiting(notifier, ROOM, USER), await waiting(notifier, OTHER)
    notifier.stir(ROOM)
    notifier.stir("!nobody-waits-for-it:ours.test")
    assert await here and not other.done()
    assert not await notifier.wait([ROOM], after=0, timeout_ms=1)
    other.cancel()


def arrival(*, state: bytes = b"after", newcomers: frozenset[str] = frozenset()) -> Arrival:
    """An event that has come into a room."""
    return Arrival(ROOM_ROW, b"before", state, (), newcomers)


def test_two_parts_of_a_unit_of_work_lose_nothing_together() -> None:
    filled = [
        Committed(
            position,
            rooms=frozenset({f"!{position}"}),
            users=frozenset({f"@u{position}"}),
            destinations=frozenset({f"d{position}"}),
            arrivals=(arrival(newcomers=frozenset({f"@n{position}"})),),
            notified=frozenset({f"@m{position}"}),
            read=frozenset({f"@r{position}"}),
            actors=frozenset({f"@a{position}"}),
            many_ends=frozenset({f"!m{position}"}),
        )
        for position in (2, 1)
    ]
    both = filled[0].together_with(filled[1])
    assert both.position == 2
    assert both.newcomers == {"@n1", "@n2"}
    for part in filled:
        for name in (each.name for each in fields(Committed) if each.name != "position"):
            assert set(getattr(part, name)) <= set(getattr(both, name)), name


def test_what_only_stirs_a_room_brings_no_events_and_moves_no_state() -> None:
    receipt = Committed(1, rooms=frozenset({ROOM}))
    assert not receipt.brings_events and not receipt.moves_state
    assert Committed(1, arrivals=(arrival(),)).moves_state
    assert not Committed(1, arrivals=(arrival(state=b"before"),)).moves_state
