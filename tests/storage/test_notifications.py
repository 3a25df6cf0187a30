"""Notifications, marks and counts, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from homeserver.storage import memberships, notifications, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Change
from homeserver.storage.notifications import NO_ROOM, WHOLE_ROOM, Notification, Notifying, Own, Unread

ALICE, BOB, EVE = "@alice:test", "@bob:test", "@eve:theirs"
MAIN, ROOT = "main", "$root"
LATEST = 1_000_000


def event(
    room_nid: int,
    position: int,
    thread_id: str = MAIN,
    *,
    sender: str = EVE,
    highlight: bool = False,
    call: bool = False,
) -> Notifying:
    return Notifying(
        room_nid, position, position * 10, thread_id, sender, highlight, call, '["notify"]', position * 1000
    )


@pytest.fixture
async def room_nid(database: Database) -> int:
    """A room in which alice and bob are since position 10."""

    async def work(tx: Transaction) -> int:
        room = await rooms.create(tx, "!room:test", "11")
        changes = [Change(user_id, "join", f"${user_id}", user_id) for user_id in (ALICE, BOB, EVE)]
        await memberships.apply(tx, room.room_nid, changes, 10)
        return room.room_nid

    return await database.write(work)


async def add(database: Database, general: Sequence[Notifying], own: Sequence[Own] = ()) -> None:
    await database.write(lambda tx: notifications.add(tx, general, own))


async def unread(database: Database, user_id: str, room_nid: int, up_to: int = LATEST) -> dict[str, Unread]:
    found = await database.read(lambda tx: notifications.unread(tx, user_id, [room_nid], up_to))
    every = await database.read(lambda tx: notifications.unread(tx, user_id, None, up_to))
    assert every == found
    return found.get(room_nid, {})


async def mark(
    database: Database, user_id: str, room_nid: int, thread_id: str, up_to: int, at: int = 500
) -> bool:
    return await database.write(
        lambda tx: notifications.mark_read(tx, user_id, room_nid, thread_id, up_to, at)
    )


async def test_counts_by_thread(database: Database, room_nid: int) -> None:
    rows = [
        event(room_nid, 5),
        event(room_nid, 11),
        event(room_nid, 12, ROOT, highlight=True),
        event(room_nid, 13, call=True),
    ]
    await add(database, [*rows, event(room_nid, 14, sender=BOB)])
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(3, 0, 1), ROOT: Unread(1, 1, 0)}
    assert await unread(database, BOB, room_nid) == {MAIN: Unread(2, 0, 1), ROOT: Unread(1, 1, 0)}
    assert await unread(database, BOB, room_nid, 12) == {MAIN: Unread(1), ROOT: Unread(1, 1)}
    assert await unread(database, "@nobody:test", room_nid) == {}
    assert await database.read(lambda tx: notifications.unread(tx, BOB, [], LATEST)) == {}


async def test_a_row_of_ones_own_takes_the_place_of_that_for_all(database: Database, room_nid: int) -> None:
    muted, louder, only = event(room_nid, 11), event(room_nid, 12), event(room_nid, 13, highlight=True)
    loud = Own(ALICE, event(room_nid, 12, highlight=True))
    await add(database, [muted, louder], [Own(ALICE, muted, notifies=False), loud, Own(ALICE, only)])
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(2, 2)}
    assert await unread(database, BOB, room_nid) == {MAIN: Unread(2)}
    await database.write(lambda tx: notifications.remove(tx, room_nid, 12))
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(1, 1)}
    assert await unread(database, BOB, room_nid) == {MAIN: Unread(1)}


async def test_marks_only_go_forward(database: Database, room_nid: int) -> None:
    await add(
        database, [event(room_nid, position, ROOT if position % 2 else MAIN) for position in range(11, 21)]
    )
    assert await mark(database, ALICE, room_nid, MAIN, 14, at=31)
    assert not await mark(database, ALICE, room_nid, MAIN, 12, at=32)
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(3), ROOT: Unread(5)}
    assert await mark(database, ALICE, room_nid, ROOT, 19, at=33)
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(3)}
    assert await mark(database, ALICE, room_nid, WHOLE_ROOM, 17, at=34)
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(2)}
    assert await mark(database, ALICE, room_nid, WHOLE_ROOM, 20, at=35)
    assert await unread(database, ALICE, room_nid) == {}
    assert await unread(database, BOB, room_nid) == {MAIN: Unread(5), ROOT: Unread(5)}
    assert await database.read(lambda tx: notifications.marks_changed(tx, ALICE, 34)) == {room_nid}
    assert await database.read(lambda tx: notifications.marks_changed(tx, ALICE, 35)) == set()
    assert await database.read(lambda tx: tx.fetch_value("SELECT COUNT(*) FROM notification_marks")) == 1


async def folded(database: Database, room_nid: int, keep: int) -> AsyncIterator[None]:
    """Fold a room in the smallest steps, and yield after each."""
    bound = await database.read(lambda tx: notifications.fold_bound(tx, room_nid, keep))
    assert bound is not None
    after: str | None = ""
    while after is not None:
        after = await database.write(
            lambda tx, after=after: notifications.fold_members(tx, room_nid, "test", bound, after, 1)  # type: ignore[misc]
        )
        yield
    while await database.write(lambda tx: notifications.remove_folded(tx, room_nid, bound, 1)):
        yield
    yield


async def test_a_folding_that_was_interrupted_is_begun_anew(database: Database, room_nid: int) -> None:
    await add(database, [event(room_nid, position) for position in range(11, 21)], [])
    bound = await database.read(lambda tx: notifications.fold_bound(tx, room_nid, 4))
    assert bound == 16
    await database.write(lambda tx: notifications.fold_members(tx, room_nid, "test", bound, "", 1))
    await add(database, [event(room_nid, position) for position in range(21, 24)], [])
    async for _ in folded(database, room_nid, 4):
        for user_id in (ALICE, BOB):
            assert await unread(database, user_id, room_nid) == {MAIN: Unread(13)}


async def test_sums_take_the_place_of_old_rows(database: Database, room_nid: int) -> None:
    await mark(database, BOB, room_nid, WHOLE_ROOM, 13)
    rows = [
        event(room_nid, position, ROOT if position % 2 else MAIN, highlight=position == 12)
        for position in range(11, 31)
    ]
    await add(database, rows, [Own(ALICE, rows[0], notifies=False)])
    before = [await unread(database, user_id, room_nid) for user_id in (ALICE, BOB)]
    async for _ in folded(database, room_nid, 6):
        assert [await unread(database, user_id, room_nid) for user_id in (ALICE, BOB)] == before
    assert await database.read(lambda tx: notifications.fold_bound(tx, room_nid, 6)) is None
    assert await database.read(lambda tx: tx.fetch_value("SELECT COUNT(*) FROM notifications")) == 6
    assert await database.read(lambda tx: tx.fetch_value("SELECT COUNT(*) FROM own_notifications")) == 0
    await add(database, [event(room_nid, 40, ROOT)])
    async for _ in folded(database, room_nid, 1):
        assert await unread(database, ALICE, room_nid) == {MAIN: Unread(10, 1), ROOT: Unread(10)}
    assert await unread(database, ALICE, room_nid) == {MAIN: Unread(10, 1), ROOT: Unread(10)}
    await mark(database, ALICE, room_nid, MAIN, 30)
    assert await unread(database, ALICE, room_nid) == {ROOT: Unread(10)}
    await mark(database, ALICE, room_nid, WHOLE_ROOM, 40)
    assert await unread(database, ALICE, room_nid) == {}


async def test_the_notifications_of_a_user(database: Database, room_nid: int) -> None:
    invite = Own(ALICE, event(NO_ROOM, 15))
    general = [
        event(room_nid, 5),
        event(room_nid, 11),
        event(room_nid, 12, highlight=True),
        event(room_nid, 14, sender=ALICE),
    ]
    await add(
        database,
        general,
        [invite, Own(ALICE, event(room_nid, 11), notifies=False), Own(ALICE, event(room_nid, 13, ROOT))],
    )
    await mark(database, ALICE, room_nid, MAIN, 12)

    async def listed(**asked: int | bool) -> list[tuple[int, bool]]:
        asked = {"before": LATEST, "limit": 10, **asked}
        found = await database.read(lambda tx: notifications.of_user(tx, ALICE, **asked))  # type: ignore[arg-type]
        return [(each.position, each.is_read) for each in found]

    assert await listed() == [(15, False), (13, False), (12, True)]
    assert await listed(limit=1) == [(15, False)]
    assert await listed(before=15) == [(13, False), (12, True)]
    assert await listed(after=12, newest_first=False) == [(13, False), (15, False)]
    assert await listed(highlights=True) == [(12, True)]
    found = await database.read(lambda tx: notifications.of_user(tx, ALICE, before=LATEST, limit=1))
    assert found == [Notification(15, NO_ROOM, 150, '["notify"]', 15_000, False)]


async def test_of_invites_from_outside_the_newest_are_kept(database: Database) -> None:
    await add(database, [], [Own(ALICE, event(NO_ROOM, position)) for position in range(1, 8)])
    await add(database, [], [Own(BOB, event(NO_ROOM, 9))])
    await database.write(lambda tx: notifications.forget_old_invites(tx, ALICE, 3))
    found = await database.read(lambda tx: notifications.of_user(tx, ALICE, before=LATEST, limit=10))
    assert [each.position for each in found] == [7, 6, 5]
    assert len(await database.read(lambda tx: notifications.of_user(tx, BOB, before=LATEST, limit=10))) == 1
