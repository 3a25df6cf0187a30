"""Where guests may be, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say


async def guest_of(whole: WholeServer) -> Client:
    answer = (await whole.client.post(f"{V3}/register?kind=guest", {})).ok()
    return whole.client.with_token(answer["access_token"], answer["user_id"])


@pytest.fixture
def whole_settings() -> dict[str, Any]:
    return {"allow_guest_access": True}


async def set_access(client: Client, room_id: str, content: Any) -> None:
    (await client.put(f"{V3}/rooms/{quote(room_id)}/state/m.room.guest_access", content)).ok()


async def current(reader: Client, room_id: str, user_id: str) -> Any:
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(user_id)}"
    answer = await reader.get(path)
    return answer.ok()["membership"] if answer.status == 200 else None


async def test_guests_join_where_they_may(whole: WholeServer) -> None:
    alice, guest = await whole.register("alice"), await guest_of(whole)
    room_id = await create_room(alice)
    refused = (403, "M_GUEST_ACCESS_FORBIDDEN")
    (await membership(guest, room_id, "join")).refused(*refused)
    state = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(guest.user_id)}"
    (await guest.put(state, {"membership": "join"})).refused(*refused)
    body = {"user_id": guest.user_id}
    (await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", body)).ok()
    (await membership(guest, room_id, "join")).refused(*refused)
    for content in ({}, {"guest_access": "forbidden"}, {"guest_access": ["can_join"]}):
        await set_access(alice, room_id, content)
        (await membership(guest, room_id, "join")).refused(*refused)
    await set_access(alice, room_id, {"guest_access": "can_join"})
    (await membership(guest, room_id, "join")).ok()
    await say(guest, room_id, "hello")
    # Others join as ever.
    await set_access(alice, room_id, {"guest_access": "forbidden"})
    (await membership(await whole.register("bob"), room_id, "join")).ok()


async def test_guests_leave_when_they_may_not_stay(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, other = await create_room(alice), await create_room(alice)
    for each in (room_id, other):
        await set_access(alice, each, {"guest_access": "can_join"})
    guests = [await guest_of(whole) for _ in range(3)]
    for each in (room_id, other):
        for client in (*guests, bob):
            (await membership(client, each, "join")).ok()
    await set_access(alice, room_id, {"guest_access": "forbidden"})
    async with asyncio.timeout(20):
        for guest in guests:
            while await current(alice, room_id, guest.user_id) != "leave":  # noqa: ASYNC110 -- the room alone can tell
                await asyncio.sleep(0.01)
    assert await current(alice, room_id, bob.user_id) == "join"
    assert [await current(alice, other, guest.user_id) for guest in guests] == ["join"] * 3
    (await membership(guests[0], room_id, "join")).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
