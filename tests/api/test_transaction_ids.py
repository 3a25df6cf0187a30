"""Transcripts: how long transaction IDs are remembered."""

from __future__ import annotations

import asyncio

from homeserver.services.clock import now_ms
from homeserver.services.sent_trimming import KEPT_MS, SentTrimming
from tests.support.whole import V3, WholeServer, create_room, send_path

TEXT = {"msgtype": "m.text", "body": "x"}


async def rows(whole: WholeServer) -> int:
    return (await whole.row_counts())["sent_events"]


async def until_rows(whole: WholeServer, count: int) -> None:
    async with asyncio.timeout(20):
        while await rows(whole) != count:  # noqa: ASYNC110 -- the work tells nobody
            await asyncio.sleep(0.01)


async def test_they_go_with_their_device(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    path = send_path(room_id, "once")
    first = (await alice.put(path, TEXT)).ok()
    assert (await alice.put(path, TEXT)).ok() == first
    assert await rows(whole) == 1
    (await alice.post(f"{V3}/logout", {})).ok()
    await until_rows(whole, 0)
    login = {"type": "m.login.password", "user": "alice", "password": "a password"}
    answer = (await alice.post(f"{V3}/login", {**login, "device_id": alice.device_id})).ok()
    again = alice.with_token(answer["access_token"], answer["user_id"], answer["device_id"])
    assert (await again.put(path, TEXT)).ok() != first


async def test_they_go_after_a_week(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    first = (await alice.put(send_path(room_id, "once"), TEXT)).ok()
    async with whole.database() as database:
        for days, left in ((6.9, 1), (7.1, 0)):
            later = now_ms() + int(days * 24 * 3_600_000)
            trimming = SentTrimming(database, lambda later=later: later)  # type: ignore[misc]
            trimming.work.start()
            async with asyncio.timeout(20):
                while left == 0 and await rows(whole) != 0:  # noqa: ASYNC110 -- the work tells nobody
                    await asyncio.sleep(0.01)
            await trimming.work.stop()
            assert await rows(whole) == left
    assert KEPT_MS == 7 * 24 * 3_600_000
    assert (await alice.put(send_path(room_id, "once"), TEXT)).ok() != first
