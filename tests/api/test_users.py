"""Searching for users over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership


async def ask(client: Client, term: str, **body: Any) -> Answer:
    return await client.post(f"{V3}/user_directory/search", {"search_term": term, **body})


async def found(client: Client, term: str, **body: Any) -> list[str]:
    answer = (await ask(client, term, **body)).ok()
    return [each["user_id"].partition(":")[0][1:] for each in answer["results"]]


async def call(client: Client, name: str) -> None:
    (await client.put(f"{V3}/profile/{client.user_id}/displayname", {"displayname": name})).ok()


async def set_state(client: Client, room_id: str, kind: str, content: Any) -> None:
    (await client.put(f"{V3}/rooms/{quote(room_id)}/state/{kind}", content)).ok()


async def join(room_id: str, *clients: Client) -> None:
    for client in clients:
        (await membership(client, room_id, "join")).ok()


@pytest.fixture
async def people(whole: WholeServer) -> list[Client]:
    return [await whole.register(name) for name in ("alice", "bob", "carol")]


async def test_users_of_public_rooms(people: list[Client]) -> None:
    alice, bob, carol = people
    assert await found(alice, "bob") == []
    room_id = await create_room(bob)
    assert await found(alice, "bob") == ["bob"]
    await call(bob, "Robert the Builder")
    assert (await ask(alice, "BUILD")).ok() == {
        "results": [{"user_id": bob.user_id, "display_name": "Robert the Builder"}],
        "limited": False,
    }
    assert await found(alice, "rob builder") == ["bob"] and await found(alice, "rob carol") == []
    assert await found(alice, bob.user_id) == ["bob"]
    assert await found(bob, "bob") == [], "oneself"
    await set_state(bob, room_id, "m.room.join_rules", {"join_rule": "invite"})
    assert await found(alice, "bob") == []
    await set_state(bob, room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert await found(alice, "bob") == ["bob"]
    (await membership(bob, room_id, "leave")).ok()
    assert await found(alice, "bob") == [] and await found(carol, "bob") == []


async def test_users_of_shared_rooms(people: list[Client]) -> None:
    alice, bob, carol = people
    room_id = await create_room(alice, preset="private_chat", invite=[bob.user_id])
    assert await found(alice, "bob") == [], "invited"
    await join(room_id, bob)
    assert await found(alice, "bob") == ["bob"] and await found(bob, "ali") == ["alice"]
    assert await found(carol, "bob") == []
    (await bob.put(f"{V3}/profile/{bob.user_id}/avatar_url", {"avatar_url": "mxc://test/bob"})).ok()
    assert (await ask(alice, "bob")).ok()["results"] == [
        {"user_id": bob.user_id, "display_name": "bob", "avatar_url": "mxc://test/bob"}
    ]
    (await bob.delete(f"{V3}/profile/{bob.user_id}/displayname")).ok()
    assert (await ask(alice, "bob")).ok()["results"] == [
        {"user_id": bob.user_id, "avatar_url": "mxc://test/bob"}
    ]
    (await membership(bob, room_id, "leave")).ok()
    assert await found(alice, "bob") == []


@pytest.mark.parametrize("whole_settings", [{"user_directory": {"search_all_users": True}}])
async def test_new_users_are_found_by_the_names_of_their_accounts(people: list[Client]) -> None:
    assert (await ask(people[0], "carol")).ok()["results"] == [
        {"user_id": people[2].user_id, "display_name": "carol"}
    ]


async def test_limits(whole: WholeServer, people: list[Client]) -> None:
    alice, bob, carol = people
    dave = await whole.register("dave")
    room_id = await create_room(alice)
    await join(room_id, bob, carol, dave)
    for client, name in ((bob, "Zoe"), (carol, "Zoe Z"), (dave, "Zoey")):
        await call(client, name)
    assert await found(alice, "zoe") == ["bob", "carol", "dave"]
    for limit, count, limited in ((1, 1, True), (2, 2, True), (3, 3, False), (0, 0, True), (10**9, 3, False)):
        answer = (await ask(alice, "zoe", limit=limit)).ok()
        assert (len(answer["results"]), answer["limited"]) == (count, limited)
    assert (await ask(alice, "")).ok() == {"results": [], "limited": False}
    assert (await ask(alice, " !%_ ")).ok() == {"results": [], "limited": False}


@pytest.mark.parametrize("whole_settings", [{"user_directory": {"search_all_users": True}}])
async def test_all_users(people: list[Client]) -> None:
    assert await found(people[0], "bob") == ["bob"]


@pytest.mark.parametrize("whole_settings", [{"user_directory": {"enabled": False}}])
async def test_it_can_be_switched_off(people: list[Client]) -> None:
    await create_room(people[1])
    assert (await ask(people[0], "bob")).ok() == {"results": [], "limited": False}


async def test_what_is_refused(whole: WholeServer, people: list[Client]) -> None:
    path = f"{V3}/user_directory/search"
    (await people[0].post(path, {})).refused(400, "M_BAD_JSON")
    (await people[0].post(path, {"search_term": 1})).refused(400, "M_BAD_JSON")
    (await ask(people[0], "x", limit=-1)).refused(400, "M_BAD_JSON")
    (await ask(whole.client, "x")).refused(401, "M_MISSING_TOKEN")
    (await people[0].post("/_matrix/client/r0/user_directory/search", {"search_term": "x"})).ok()


@pytest.mark.parametrize("whole_settings", [{"rc_user_directory": {"per_second": 0.001, "burst_count": 1}}])
async def test_searches_are_limited(people: list[Client]) -> None:
    (await ask(people[0], "x")).ok()
    (await ask(people[0], "x")).refused(429, "M_LIMIT_EXCEEDED")
