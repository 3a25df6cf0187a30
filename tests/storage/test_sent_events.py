"""Transaction IDs are forgotten, on both databases."""

from __future__ import annotations

from homeserver.storage import events, sent_events
from homeserver.storage.database import Database, Transaction

ALICE, BOB = "@alice:test", "@bob:test"


async def send(database: Database, user_id: str, device_id: str, *times: int) -> None:
    async def work(tx: Transaction) -> None:
        for time in times:
            transaction_id, event_id = f"t{time}", f"${user_id}{device_id}{time}"
            await events.record_sent(tx, user_id, device_id, "send", transaction_id, event_id, time)

    await database.write(work)


async def known(database: Database, user_id: str, device_id: str, *times: int) -> list[int]:
    async def work(tx: Transaction) -> list[int]:
        found = {time: await events.sent_event(tx, user_id, device_id, "send", f"t{time}") for time in times}
        return [time for time, event_id in found.items() if event_id is not None]

    return await database.read(work)


async def trim(database: Database, before_ms: int, limit: int) -> bool:
    return await database.write(lambda tx: sent_events.trim(tx, before_ms, limit))


async def test_the_old_ones_go_in_steps(database: Database) -> None:
    await send(database, ALICE, "A", 1, 2, 3, 10, 11)
    assert await trim(database, 10, 2)
    assert len(await known(database, ALICE, "A", 1, 2, 3)) == 1
    assert not await trim(database, 10, 2)
    assert await known(database, ALICE, "A", 1, 2, 3, 10, 11) == [10, 11]
    assert not await trim(database, 10, 2)


async def test_those_of_a_device_go_with_it(database: Database) -> None:
    for user_id, device_id in ((ALICE, "A"), (ALICE, "B"), (BOB, "A")):
        await send(database, user_id, device_id, 1, 2, 3)
    for _ in range(2):  # it may be removed again before that
        await database.write(lambda tx: sent_events.device_gone(tx, ALICE, ["A", "unheard of"]))
    steps = 1
    while await trim(database, 0, 2):
        steps += 1
    assert steps <= 4
    assert await known(database, ALICE, "A", 1, 2, 3) == []
    assert await known(database, ALICE, "B", 1, 2, 3) == [1, 2, 3]
    assert await known(database, BOB, "A", 1, 2, 3) == [1, 2, 3]
