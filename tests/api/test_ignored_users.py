"""Ignored users and blocked invites over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say, send_path, sync


async def ignore(client: Client, *user_ids: str, content: Any = None) -> None:
    whole = {"ignored_users": {user_id: {} for user_id in user_ids}} if content is None else content
    (await client.put(f"{V3}/user/{client.user_id}/account_data/m.ignored_user_list", whole)).ok()


async def block_invites(client: Client, **content: Any) -> None:
    (await client.put(f"{V3}/user/{client.user_id}/account_data/m.invite_permission_config", content)).ok()


async def invite(client: Client, room_id: str, user_id: str) -> Any:
    return await client.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": user_id})


def invites(answer: Any) -> set[str]:
    return set(answer.get("rooms", {}).get("invite", {}))


def bodies(answer: Any, room_id: str) -> list[str]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id)
    events = room["timeline"]["events"] if room else []
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


@pytest.fixture
async def bob(whole: WholeServer) -> Client:
    return await whole.register("bob")


async def test_what_ignored_users_say_is_left_out(alice: Client, bob: Client) -> None:
    room_id = await create_room(alice, power_level_content_override={"events": {"m.room.topic": 0}})
    (await membership(bob, room_id, "join")).ok()
    before = await say(bob, room_id, "before")
    since = (await sync(alice))["next_batch"]
    await ignore(alice, bob.user_id)
    during = await say(bob, room_id, "during")
    (await bob.put(f"{V3}/rooms/{quote(room_id)}/state/m.room.topic", {"topic": "his"})).ok()
    await say(alice, room_id, "mine")
    for answer in (await sync(alice, since), await sync(alice)):
        assert bodies(answer, room_id) == ["mine"]
        events = answer["rooms"]["join"][room_id]["timeline"]["events"]
        assert "m.room.topic" in {event["type"] for event in events}, "state is shown all the same"
    room = f"{V3}/rooms/{quote(room_id)}"
    page = (await alice.get(f"{room}/messages?dir=b&limit=100")).ok()["chunk"]
    assert [event["content"]["body"] for event in page if event["type"] == "m.room.message"] == ["mine"]
    for event_id in (before, during):
        (await alice.get(f"{room}/event/{event_id}")).refused(404, "M_NOT_FOUND")
        (await alice.get(f"{room}/context/{event_id}")).refused(404, "M_NOT_FOUND")
        assert (await bob.get(f"{room}/event/{event_id}")).ok()["event_id"] == event_id
    around = (await alice.get(f"{room}/context/{await say(alice, room_id, 'last')}?limit=20")).ok()
    assert bob.user_id not in {
        event["sender"] for event in around["events_before"] if event["type"] == "m.room.message"
    }
    # Who is ignored no longer is heard again, from now on.
    since = (await sync(alice))["next_batch"]
    await ignore(alice)
    await say(bob, room_id, "after")
    assert bodies(await sync(alice, since), room_id) == ["after"]
    assert bodies(await sync(alice), room_id) == ["before", "during", "mine", "last", "after"]
    assert (await alice.get(f"{room}/event/{during}")).ok()["event_id"] == during


async def test_a_long_poll_is_not_ended_by_ignored_users(alice: Client, bob: Client) -> None:
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    await ignore(alice, bob.user_id)
    since = (await sync(alice))["next_batch"]
    await say(bob, room_id, "psst")
    assert "rooms" not in await sync(alice, since, timeout=50)


async def test_reactions_and_pages_skip_them(alice: Client, bob: Client) -> None:
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    target = await say(alice, room_id, "target")
    for client, key in ((bob, "👎"), (alice, "👍")):
        content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": key}}
        (await client.put(send_path(room_id, event_type="m.reaction"), content)).ok()
    await ignore(alice, bob.user_id)
    path = f"/_matrix/client/v1/rooms/{quote(room_id)}/relations/{target}"
    assert [event["sender"] for event in (await alice.get(path)).ok()["chunk"]] == [alice.user_id]
    assert len((await bob.get(path)).ok()["chunk"]) == 2
    # What one ignores does not make pages short.
    for _ in range(15):
        await say(bob, room_id, "noise")
    page = (await alice.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b&limit=2")).ok()["chunk"]
    assert [event["type"] for event in page] == ["m.reaction", "m.room.message"]
    answer = await sync(alice, filter='{"room":{"timeline":{"limit":2}}}')
    events = answer["rooms"]["join"][room_id]["timeline"]["events"]
    assert [event["type"] for event in events] == ["m.room.message", "m.reaction"]


@pytest.mark.parametrize(
    "content", [{}, {"ignored_users": None}, {"ignored_users": ["@bob"]}, {"ignored_users": {"": 1}}]
)
async def test_lists_that_are_none(alice: Client, bob: Client, content: Any) -> None:
    room_id = await create_room(alice)
    (await membership(bob, room_id, "join")).ok()
    await ignore(alice, content=content)
    await say(bob, room_id, "hello")
    assert bodies(await sync(alice), room_id) == ["hello"]


async def test_nobody_ignores_himself(alice: Client) -> None:
    room_id = await create_room(alice)
    await ignore(alice, alice.user_id)
    await say(alice, room_id, "hello")
    assert bodies(await sync(alice), room_id) == ["hello"]


async def test_invites_of_ignored_users(alice: Client, bob: Client) -> None:
    since = (await sync(bob))["next_batch"]
    await ignore(bob, alice.user_id)
    room_id = await create_room(alice, invite=[bob.user_id])
    for answer in (await sync(bob, since), await sync(bob), await sync(bob, since, full_state="true")):
        assert invites(answer) == set()
    await ignore(bob)
    assert invites(await sync(bob)) == {room_id}


async def test_blocked_invites(alice: Client, bob: Client) -> None:
    earlier = await create_room(alice, invite=[bob.user_id])
    assert invites(await sync(bob)) == {earlier}
    await block_invites(bob, default_action="block")
    assert invites(await sync(bob)) == set()
    room_id = await create_room(alice)
    (await invite(alice, room_id, bob.user_id)).refused(403, "M_INVITE_BLOCKED")
    state = f"{V3}/rooms/{quote(room_id)}/state/m.room.member/{bob.user_id}"
    (await alice.put(state, {"membership": "invite"})).refused(403, "M_INVITE_BLOCKED")
    (await alice.get(state)).refused(404, "M_NOT_FOUND")
    before = (await alice.get(f"{V3}/joined_rooms")).ok()
    body = {"invite": [bob.user_id]}
    (await alice.post(f"{V3}/createRoom", body)).refused(403, "M_INVITE_BLOCKED")
    assert (await alice.get(f"{V3}/joined_rooms")).ok() == before, "no room is left behind"
    # "Other endpoints [...] are not affected"
    path = f"{V3}/rooms/{quote(earlier)}/state/m.room.member/{bob.user_id}"
    assert (await alice.get(path)).ok()["membership"] == "invite"
    (await membership(bob, earlier, "join")).ok()


@pytest.mark.parametrize("content", [{}, {"default_action": "allow"}, {"default_action": ["block"]}])
async def test_invites_that_are_not_blocked(alice: Client, bob: Client, content: dict[str, Any]) -> None:
    await block_invites(bob, default_action="block")
    await block_invites(bob, **content)
    room_id = await create_room(alice)
    (await invite(alice, room_id, bob.user_id)).ok()
    assert invites(await sync(bob)) == {room_id}
