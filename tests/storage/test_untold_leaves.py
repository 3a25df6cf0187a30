"""Leaves that are still to be told."""

from dataclasses import replace

from homeserver.storage import untold_leaves
from homeserver.storage.database import Database
from homeserver.storage.untold_leaves import UntoldLeave

BOB = UntoldLeave("@bob:ours.test", "!room:theirs.test", "$leave", 1, 1_000)
CAROL = replace(BOB, user_id="@carol:ours.test", retry_at_ms=500)


async def due(database: Database, now_ms: int, limit: int = 10) -> list[UntoldLeave]:
    return await database.read(lambda tx: untold_leaves.due(tx, now_ms, limit))


async def test_what_is_due_comes_in_its_order_and_a_later_one_takes_its_place(database: Database) -> None:
    for leave in (BOB, CAROL):
        await database.write(lambda tx, leave=leave: untold_leaves.put(tx, leave))  # type: ignore[misc]
    assert await due(database, 499) == []
    assert await due(database, 1_000) == [CAROL, BOB]
    assert await due(database, 1_000, 1) == [CAROL]
    again = replace(BOB, event_id="$again", tries=3, retry_at_ms=2_000)
    await database.write(lambda tx: untold_leaves.put(tx, again))
    await database.write(lambda tx: untold_leaves.remove(tx, BOB))  # has been replaced
    assert await due(database, 2_000) == [CAROL, again]
    await database.write(lambda tx: untold_leaves.remove(tx, again))
    assert await due(database, 2_000) == [CAROL]
