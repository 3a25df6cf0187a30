"""The checks of the database find what they are for: each kind of damage that half a write could do."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeserver.storage.database import Transaction
from tests.support.invariants import violations
from tests.support.rooms import RoomServices, open_sqlite

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"
DAMAGE = {
    "UPDATE events SET state_after = state_before WHERE type = 'm.room.join_rules'": "is not the state before it",
    "UPDATE events SET position = NULL WHERE type = 'm.room.message'": "is no accepted event in the graph",
    "UPDATE events SET status = 2 WHERE type = 'm.room.message'": "a refusal without its reason",
    "UPDATE events SET position = 3": "a position that two events have",
    "UPDATE positions SET value = 1 WHERE name = 'stream'": "the stream stands at 1",
    "UPDATE events SET canonical = (SELECT canonical FROM events WHERE type = 'm.room.join_rules')"
    " WHERE type = 'm.room.message'": "the content of another event",
    "DELETE FROM events WHERE type = 'm.room.power_levels'": "which is not here",
    "DELETE FROM forward_extremities": "no forward extremity",
    "INSERT INTO forward_extremities SELECT room_nid, event_id FROM events WHERE type = 'm.room.create'":
        "has an accepted event after it",
    "DELETE FROM room_states": "the newest entry of room_states",
    "UPDATE rooms SET current_state = (SELECT state_after FROM events WHERE type = 'm.room.create')":
        "the current state is not what",
    "DELETE FROM memberships WHERE user_id = '@bob:ours.test'": "@bob:ours.test is listed as None",
    "UPDATE memberships SET membership = 'leave' WHERE user_id = '@bob:ours.test'": "is listed as ('leave'",
    "UPDATE room_servers SET joined = 1": "the servers are counted as",
    "INSERT INTO outbox (destination, event_nid) VALUES ('theirs.test', 99)": "something to send that there is not",
    "INSERT INTO sent_events VALUES ('@a:b', 'D', 'e', 't', '$none', 0)": "a sent event that there is not",
    "INSERT INTO access_tokens (token_hash, user_id, created_ts) VALUES ('x', '@no:ours.test', 0)": "of nobody",
    "INSERT INTO room_aliases VALUES ('#a:ours.test', '!none', '@a:b', 0)": "a local alias of no room",
}  # fmt: skip


@pytest.mark.parametrize(("damage", "found"), DAMAGE.items())
async def test_damage_is_found(tmp_path: Path, damage: str, found: str) -> None:
    database = await open_sqlite(tmp_path / "homeserver.db")
    try:
        services = RoomServices(database)
        room_id = await services.room(ALICE, "10")
        await services.join(room_id, BOB)
        await services.say(room_id, ALICE, "hello")
        assert await violations(database) == []

        async def work(tx: Transaction) -> None:
            assert await tx.execute(damage)

        await database.write(work)
        assert any(found in violation for violation in await violations(database))
    finally:
        await database.close()
