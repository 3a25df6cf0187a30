"""Whom events notify, on both databases: the rows that are stored, and who is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from homeserver.core.push_rules import Kind
from homeserver.core.requester import Requester
from homeserver.services.account_data import AccountData
from homeserver.services.push import folding
from homeserver.services.push.evaluation import Evaluation
from homeserver.services.push.folding import Folding
from homeserver.services.push_rules import PushRules, new_rule
from homeserver.services.room_writes import RoomWrites
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import notifications, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.notifications import Unread
from tests.support.rooms import RoomServices

ALICE, BOB, CAROL = (f"@{name}:ours.test" for name in ("alice", "bob", "carol"))
ALL = 10**9


class World:
    """A room of three of our users, with evaluation."""

    def __init__(self, database: Database) -> None:
        self.services = services = RoomServices(database)
        follow = Evaluation(services.states, services.server_name, services.clock).follow
        services.writes = RoomWrites(database, services._after_commit, follow)
        services.timeline = Timeline(services.writes, services.states, services.identity, services.clock)
        self.rules = PushRules(services.user_writes)
        self.data = AccountData(services.user_writes)
        self.room_id = ""

    async def begin(self) -> None:
        self.room_id = await self.services.room(ALICE)
        for user_id in (BOB, CAROL):
            await self.services.join(self.room_id, user_id)

    async def say(self, user_id: str = ALICE, **content: Any) -> frozenset[str]:
        """Send a message; whom it notifies."""
        body = {"msgtype": "m.text", "body": "x", **content}
        await self.services.timeline.send(self.room_id, Draft(user_id, "m.room.message", body))
        return self.services.committed[-1].notified

    async def rows(self) -> tuple[int, int]:
        """How many rows there are: for all, and for single users."""

        async def work(tx: Transaction) -> Sequence[int]:
            return [
                await tx.fetch_value(f"SELECT COUNT(*) FROM {table}")
                for table in ("notifications", "own_notifications")
            ]

        general, own = await self.services.database.read(work)
        return general, own

    async def unread(self, user_id: str) -> Unread:
        async def work(tx: Transaction) -> Unread:
            room = await rooms.get(tx, self.room_id)
            assert room is not None
            found = await notifications.unread(tx, user_id, [room.room_nid], ALL)
            return sum(found.get(room.room_nid, {}).values(), Unread())

        return await self.services.database.read(work)

    async def mute(self, user_id: str) -> None:
        rule = new_rule(Kind.ROOM.value, self.room_id, [], [], None)
        await self.rules.put(user_id, rule, None, None)


@pytest.fixture
async def world(database: Database) -> World:
    made = World(database)
    await made.begin()
    return made


async def test_one_row_for_all(world: World) -> None:
    assert await world.say() == {BOB, CAROL}
    assert await world.rows() == (1, 0)
    assert await world.say(**{"m.mentions": {"user_ids": [BOB]}}) == {BOB, CAROL}
    assert await world.rows() == (2, 1)
    assert [await world.unread(user_id) for user_id in (ALICE, BOB, CAROL)] == [
        Unread(),
        Unread(2, 1),
        Unread(2),
    ]
    assert await world.say(msgtype="m.notice") == frozenset()
    assert await world.rows() == (2, 1)


async def test_where_most_are_not_notified_there_are_rows_for_the_others(world: World) -> None:
    for number in range(4):
        user_id = f"@user{number}:ours.test"
        await world.services.join(world.room_id, user_id)
        await world.mute(user_id)
    assert await world.say() == {BOB, CAROL}
    assert await world.rows() == (0, 2)
    assert [await world.unread(user_id) for user_id in (BOB, "@user1:ours.test")] == [Unread(1), Unread()]


async def test_who_changes_something_is_known_at_once(world: World) -> None:
    assert await world.say() == {BOB, CAROL}
    await world.mute(BOB)
    assert await world.say() == {CAROL}
    await world.rules.delete(BOB, "room", world.room_id)
    requester = Requester(CAROL, "DEVICE", 1)
    ignored = {"ignored_users": {ALICE: {}}}
    await world.data.set(requester, CAROL, "m.ignored_user_list", ignored)
    assert await world.say() == {BOB}
    await world.data.set(requester, CAROL, "m.ignored_user_list", {})
    assert await world.say() == {BOB, CAROL}
    assert [await world.unread(user_id) for user_id in (BOB, CAROL)] == [Unread(3), Unread(3)]


async def test_an_invite_notifies_whom_it_invites(world: World) -> None:
    invite = Draft(ALICE, "m.room.member", {"membership": "invite"}, "@dave:ours.test")
    await world.services.timeline.send(world.room_id, invite)
    assert world.services.committed[-1].notified == {"@dave:ours.test"}
    await world.services.join(world.room_id, "@dave:ours.test")
    assert "@dave:ours.test" in world.services.committed[-1].read
    assert await world.unread("@dave:ours.test") == Unread()


async def test_the_rows_of_a_room_stay_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "KEPT", 4)
    monkeypatch.setattr(folding, "FOLD_EVERY", 2)
    monkeypatch.setattr(folding, "MEMBERS_A_STEP", 2)
    monkeypatch.setattr(folding, "ROWS_A_STEP", 1)
    work = Folding(world.services.database, world.services.server_name)
    for number in range(20):
        mentions = {"m.mentions": {"user_ids": [CAROL]}} if number % 5 == 0 else {}
        await world.say(**mentions)
        expected = [Unread(number + 1), Unread(number + 1, number // 5 + 1)]
        work.committed(world.services.committed[-1])
        while await work.step():
            assert [await world.unread(user_id) for user_id in (BOB, CAROL)] == expected
        general, own = await world.rows()
        assert general <= 4 + 2 and own <= 4
    assert [await world.unread(user_id) for user_id in (BOB, CAROL)] == [Unread(20), Unread(20, 4)]
    await world.say(CAROL)
    assert [await world.unread(user_id) for user_id in (BOB, CAROL)] == [Unread(21), Unread()]
