"""Positions: one sequence, without gaps or repetitions, that shows only what is committed."""

import asyncio

import pytest

from homeserver.storage import positions
from homeserver.storage.database import Database, Transaction


async def test_they_go_up_from_one(database: Database) -> None:
    assert await database.read(positions.current) == 0
    assert await database.write(positions.take) == 1
    assert await database.write(lambda tx: positions.take(tx, 3)) == 2
    assert await database.read(positions.current) == 4
    assert await database.write(positions.take) == 5


async def test_history_goes_down_and_its_batches_do_not_overlap(database: Database) -> None:
    assert await database.write(lambda tx: positions.take_history(tx, 3)) == -1  # -1, -2, -3
    assert await database.write(lambda tx: positions.take_history(tx, 2)) == -4
    assert await database.read(positions.current) == 0


async def test_what_is_undone_takes_no_position(database: Database) -> None:
    async def failing(tx: Transaction) -> None:
        await positions.take(tx, 10)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(failing)
    assert await database.read(positions.current) == 0
    assert await database.write(positions.take) == 1


async def test_many_at_once_take_each_its_own(database: Database) -> None:
    taken = await asyncio.gather(*(database.write(positions.take) for _ in range(20)))
    assert sorted(taken) == list(range(1, 21))
    assert await database.read(positions.current) == 20
