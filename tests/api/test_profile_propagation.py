"""Rooms are told of new names and avatars, in the background."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from homeserver.services import profile_propagation
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, history, membership


async def set_field(client: Client, name: str, value: str) -> None:
    (await client.put(f"{V3}/profile/{client.user_id}/{name}", {name: value})).ok()


async def member(reader: Client, room_id: str, user_id: str) -> Any:
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{user_id}"
    return (await reader.get(path)).ok()


async def until_told(reader: Client, room_ids: list[str], user_id: str, expected: Any) -> None:
    async with asyncio.timeout(20):
        for room_id in room_ids:
            while await member(reader, room_id, user_id) != expected:  # noqa: ASYNC110 -- another process could do it
                await asyncio.sleep(0.01)


async def test_every_room_is_told_the_newest(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    rooms = [await create_room(alice) for _ in range(profile_propagation.ROOMS_AT_ONCE * 2 + 1)]
    for room_id in rooms:
        (await membership(bob, room_id, "join")).ok()
    left = await create_room(alice)
    (await membership(bob, left, "join")).ok()
    (await membership(bob, left, "leave")).ok()
    for name in ("B", "Bo", "Bob"):
        await set_field(bob, "displayname", name)
    await set_field(bob, "avatar_url", "mxc://test/bob")
    expected = {"membership": "join", "displayname": "Bob", "avatar_url": "mxc://test/bob"}
    await until_told(alice, rooms, bob.user_id, expected)
    (await bob.delete(f"{V3}/profile/{bob.user_id}/avatar_url")).ok()
    await until_told(alice, rooms, bob.user_id, {"membership": "join", "displayname": "Bob"})
    assert (await member(alice, left, bob.user_id))["membership"] == "leave"


async def test_changes_in_a_row_are_told_together(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create_room(alice)
    for number in range(20):
        await set_field(alice, "displayname", f"Alice {number}")
    await until_told(alice, [room_id], alice.user_id, {"membership": "join", "displayname": "Alice 19"})
    told = [event for event in await history(alice, room_id) if event.get("state_key") == alice.user_id]
    assert len(told) < 10, "the join, the first, the last, and what was told while requests took long"


async def test_what_else_the_member_event_says(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, other = await create_room(alice), await create_room(alice)
    path = f"{V3}/rooms/{quote(room_id)}"
    (await bob.post(f"{path}/join", {"reason": "why not"})).ok()
    (await membership(bob, other, "join")).ok()
    content = {"membership": "join", "org.example.mood": "good", "displayname": "here alone"}
    (await bob.put(f"{path}/state/m.room.member/{bob.user_id}", content)).ok()
    # Who is banned meanwhile is no reason to stop.
    (await alice.post(f"{V3}/rooms/{quote(other)}/ban", {"user_id": bob.user_id})).ok()
    await set_field(bob, "displayname", "Bob")
    expected = {"membership": "join", "org.example.mood": "good", "displayname": "Bob"}
    await until_told(alice, [room_id], bob.user_id, expected)
    assert (await member(alice, other, bob.user_id))["membership"] == "ban"


async def test_what_is_so_already_is_not_sent(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    await set_field(alice, "displayname", "Alice")
    room_id = await create_room(alice)
    later = await create_room(alice)
    before = await history(alice, room_id)
    await set_field(alice, "displayname", "A")
    await set_field(alice, "displayname", "Alice")
    await until_told(alice, [later], alice.user_id, {"membership": "join", "displayname": "Alice"})
    async with asyncio.timeout(20):
        while await pending(whole):  # noqa: ASYNC110 -- the database alone can tell
            await asyncio.sleep(0.01)
    assert len(await history(alice, room_id)) - len(before) in (0, 2), "both changes, or none of them"


async def test_the_members_of_rooms_have_the_names_of_new_accounts(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_room(alice, invite=[carol.user_id])
    (await membership(bob, room_id, "join")).ok()
    for client, state in ((alice, "join"), (bob, "join"), (carol, "invite")):
        name = client.user_id[1:].partition(":")[0]
        assert await member(alice, room_id, client.user_id) == {"membership": state, "displayname": name}
    assert await pending(whole) == 0, "the rooms of a new account need not be told"


async def pending(whole: WholeServer) -> int:
    return (await whole.row_counts())["profile_propagations"]


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with WholeServer(authority, tmp_path) as first:
        alice = await first.register("alice")
        rooms = [await create_room(alice) for _ in range(4)]
    async with first.database() as database:
        # As if the process had died right after the profile was stored.
        await database.write(
            lambda tx: tx.execute(
                "UPDATE profile_fields SET value = $2 WHERE user_id = $1 AND name = 'displayname'",
                alice.user_id,
                b'"Alice"',
            )
        )
        await database.write(
            lambda tx: tx.execute(
                "INSERT INTO profile_propagations (user_id, change, after_room_nid) VALUES ($1, 3, 1)",
                alice.user_id,
            )
        )
    async with first.again() as second:
        alice = second.client.with_token(alice.access_token, alice.user_id)
        await until_told(alice, rooms[1:], alice.user_id, {"membership": "join", "displayname": "Alice"})
        told_before = {"membership": "join", "displayname": "alice"}
        assert await member(alice, rooms[0], alice.user_id) == told_before
