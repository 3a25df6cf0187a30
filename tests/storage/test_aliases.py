"""Room aliases, on both databases."""

from __future__ import annotations

from homeserver.storage import aliases
from homeserver.storage.aliases import Alias
from homeserver.storage.database import Database, Transaction

OLD, NEW, OTHER = "!old:ours.test", "!new:ours.test", "!other:ours.test"
ALICE = "@alice:ours.test"


async def test_the_aliases_of_a_room_move_together(database: Database) -> None:
    async def work(tx: Transaction) -> list[bool]:
        added = [
            await aliases.add(tx, Alias(f"#{name}:ours.test", room_id, ALICE), age)
            for age, (name, room_id) in enumerate((("b", OLD), ("a", OLD), ("c", OTHER), ("a", OTHER)))
        ]
        await aliases.move(tx, OLD, NEW)
        return added

    assert await database.write(work) == [True, True, True, False]
    found = [
        await database.read(lambda tx, r=room_id: aliases.of_room(tx, r)) for room_id in (OLD, NEW, OTHER)
    ]
    assert found == [[], ["#b:ours.test", "#a:ours.test"], ["#c:ours.test"]]
    moved = await database.read(lambda tx: aliases.get(tx, "#a:ours.test"))
    assert moved == Alias("#a:ours.test", NEW, ALICE)
