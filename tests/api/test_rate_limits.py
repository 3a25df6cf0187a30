"""The limits of endpoints, rc_message, rc_joins.local and rc_room_creation: what counts together, for whom, how it is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership, say

THREE = {"per_second": 0.01, "burst_count": 3}
WIDE = {"per_second": 1000, "burst_count": 1000}


def limited(directory: Path, **limits: Any) -> WholeServer:
    """A server with these limits."""
    return WholeServer(Authority(directory), directory, more=limits)


def refused(answer: Answer) -> None:
    """429, with when to try again in the body and in the header."""
    retry_after_ms: int = answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"]
    assert 0 < retry_after_ms <= 100_000
    assert int(answer.headers["Retry-After"]) == -(-retry_after_ms // 1000)


async def topic(client: Client, room_id: str, text: str) -> Answer:
    return await client.put(f"{V3}/rooms/{quote(room_id)}/state/m.room.topic", {"topic": text})


async def test_messages_state_and_redactions_count_together(tmp_path: Path) -> None:
    async with limited(tmp_path, rc_message=THREE) as server:
        alice, bob = await server.register("alice"), await server.register("bob")
        room_id = await create_room(alice)
        (await membership(bob, room_id, "join")).ok()
        room = f"{V3}/rooms/{quote(room_id)}"
        said = await say(alice, room_id, "one")
        (await topic(alice, room_id, "two")).ok()
        (await alice.put(f"{room}/redact/{quote(said)}/three", {})).ok()
        refused(await alice.put(f"{room}/send/m.room.message/four", {"msgtype": "m.text", "body": "four"}))
        refused(await topic(alice, room_id, "four"))
        refused(await alice.put(f"{room}/state/org.example/key", {}))
        refused(await alice.put(f"{room}/redact/{quote(said)}/four", {}))
        await say(bob, room_id, "others have a limit of their own")


async def test_joins_and_knocks_count_together(tmp_path: Path) -> None:
    knock = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    async with limited(tmp_path, rc_joins={"local": THREE, "remote": WIDE}) as server:
        alice, bob = await server.register("alice"), await server.register("bob")
        rooms = [quote(await create_room(alice)) for _ in range(3)]
        closed = quote(await create_room(alice, initial_state=[knock]))
        (await bob.post(f"{V3}/join/{rooms[0]}")).ok()
        (await bob.post(f"{V3}/rooms/{rooms[1]}/join")).ok()
        (await bob.post(f"{V3}/knock/{closed}")).ok()
        for path in (f"join/{rooms[2]}", f"rooms/{rooms[2]}/join", f"knock/{closed}"):
            refused(await bob.post(f"{V3}/{path}"))


async def test_rooms_that_are_made(tmp_path: Path) -> None:
    async with limited(tmp_path, rc_room_creation=THREE) as server:
        alice, bob = await server.register("alice"), await server.register("bob")
        rooms = [quote(await create_room(alice)) for _ in range(2)]
        (await alice.post(f"{V3}/rooms/{rooms[0]}/upgrade", {"new_version": "11"})).ok()
        refused(await alice.post(f"{V3}/createRoom", {}))
        refused(await alice.post(f"{V3}/rooms/{rooms[1]}/upgrade", {"new_version": "11"}))
        await create_room(bob)
