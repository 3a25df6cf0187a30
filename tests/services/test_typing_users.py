"""Who is typing: what clients are told of it, and what they know after a restart."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.services import typing_users
from homeserver.services.typing_users import MAX_IN_ROOM, TypingUsers
from tests.support.federation_peer import until
from tests.support.rooms import TickingClock

ALICE, BOB = "@alice:test", "@bob:test"
ONE, TWO = "!one:test", "!two:test"


class Told:
    """The rooms that were told of, and the users."""

    def __init__(self) -> None:
        self.rooms: list[str] = []
        self.clock = TickingClock(1_000)
        self.users = TypingUsers(self.rooms.append, self.clock)

    def news(self, since: int | None) -> dict[str, tuple[str, ...]]:
        """What is told of both rooms, which are known to the client."""
        news = self.users.news(since)
        told = {room_id: news.of(room_id, is_new=False) for room_id in (ONE, TWO)}
        return {room_id: users for room_id, users in told.items() if users is not None}


@pytest.fixture
def told() -> Told:
    return Told()


async def test_beginning_and_ending(told: Told) -> None:
    users = told.users
    assert told.news(None) == {}
    assert users.start(ONE, ALICE, 60_000)
    assert told.news(None) == {ONE: (ALICE,)}
    first = users.news(None).number
    assert told.news(first) == {}
    assert users.start(ONE, BOB, 60_000) and users.is_typing(ONE, BOB)
    assert told.news(first) == told.news(None) == {ONE: (ALICE, BOB)}
    assert not users.start(ONE, BOB, 60_000), "known already"
    second = users.news(None).number
    users.stop(ONE, ALICE)
    users.stop(ONE, BOB)
    users.stop(ONE, BOB)
    users.stop(TWO, BOB)
    assert told.news(first) == told.news(second) == {ONE: ()}
    assert told.news(None) == {}, "who believes that nobody is typing is right again"
    assert told.rooms == [ONE] * 4
    assert users.news(None).of(ONE, is_new=True) is None


async def test_what_is_new_to_the_client_is_shown_whenever_it_began(told: Told) -> None:
    told.users.start(ONE, ALICE, 60_000)
    news = told.users.news(told.users.news(None).number)
    assert news.of(ONE, is_new=False) is None and news.of(ONE, is_new=True) == (ALICE,)
    assert news.of(TWO, is_new=True) is None


async def test_time_runs_out(told: Told) -> None:
    ended: list[str] = []
    told.users.start(ONE, ALICE, 10, lambda: ended.append("first"))
    told.users.start(ONE, ALICE, 20, lambda: ended.append("second"))
    await until(lambda: ended)
    assert ended == ["second"] and not told.users.is_typing(ONE, ALICE)
    assert told.rooms == [ONE, ONE]


async def test_a_new_time_replaces_the_one_that_ran(told: Told) -> None:
    told.users.start(ONE, ALICE, 1)
    told.users.start(ONE, ALICE, 60_000)
    await asyncio.sleep(0.02)
    assert told.users.is_typing(ONE, ALICE)


async def test_numbers_rise_with_the_clock_and_without_it(told: Told) -> None:
    numbers = []
    for _ in range(3):
        told.users.start(ONE, ALICE, 60_000)
        numbers.append(told.users.news(None).number)
        told.users.stop(ONE, ALICE)
        numbers.append(told.users.news(None).number)
    assert numbers == [1_001, 1_002, 1_003, 1_004, 1_005, 1_006]
    told.clock.now = 5_000
    told.users.start(ONE, ALICE, 60_000)
    assert told.users.news(None).number == 5_000


async def test_after_a_restart_everything_is_told_once_more(told: Told) -> None:
    told.users.start(ONE, ALICE, 60_000)
    before = told.users.news(None).number
    told.clock.now = before + 10
    again = TypingUsers(told.rooms.append, told.clock)
    again.start(TWO, BOB, 60_000)
    news = again.news(before)
    assert news.of(ONE, is_new=False) == () and news.of(TWO, is_new=False) == (BOB,)
    assert again.news(None).of(ONE, is_new=False) is None, "who was not told of anybody needs nothing"
    assert again.news(news.number).of(ONE, is_new=False) is None
    ahead = again.news(news.number + 1)
    assert ahead.of(ONE, is_new=False) == (), "a number that this server has not reached yet"


async def test_changes_of_certain_rooms(told: Told) -> None:
    number = told.users.news(None).number
    assert not told.users.changed_since(number, [ONE, TWO])
    told.users.start(ONE, ALICE, 60_000)
    assert told.users.changed_since(number, [ONE, TWO]) and not told.users.changed_since(number, [TWO])


async def test_what_is_forgotten_is_told_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing_users, "ROOMS_KEPT", 3)
    told.users.start(ONE, ALICE, 60_000)
    first = told.users.news(None).number
    for number in range(3):
        told.users.start(f"!{number}:test", ALICE, 60_000)
    assert told.users.news(first).of(TWO, is_new=False) is None, "nothing that the client does not know"
    told.users.start("!more:test", ALICE, 60_000)
    assert told.users.news(first).of(TWO, is_new=False) == ()


async def test_no_more_than_a_room_can_show(told: Told) -> None:
    for number in range(MAX_IN_ROOM):
        assert told.users.start(ONE, f"@u{number}:test", 60_000)
    assert not told.users.start(ONE, ALICE, 60_000) and not told.users.is_typing(ONE, ALICE)
    told.users.stop(ONE, "@u7:test")
    assert told.users.start(ONE, ALICE, 60_000)
