"""The tree of a space."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.client import Answer
from tests.support.room_server import RoomClient, RoomServer


async def ask(client: RoomClient, room_id: str, **query: Any) -> Answer:
    return await client.http.get(
        f"/_matrix/client/v1/rooms/{quote(room_id)}/hierarchy?{urlencode(query)}".rstrip("?")
    )


async def space(client: RoomClient, name: str = "space", **options: Any) -> str:
    options = {"preset": "public_chat", **options}
    return await client.create(creation_content={"type": "m.space"}, name=name, **options)


async def child(client: RoomClient, space_id: str, room_id: str, **content: Any) -> None:
    content = {"via": ["ours.test"], **content}
    (await client.set_state(space_id, "m.space.child", content, room_id)).ok()


def ids(answer: Any) -> list[str]:
    return [room["room_id"] for room in answer["rooms"]]


async def test_a_tree_depth_first(rooms: RoomServer) -> None:
    alice, clock = rooms.alice, rooms.services.clock
    top, inner = await space(alice, "top"), await space(alice, "inner")
    leaves = [await alice.create(preset="public_chat", name=f"leaf {number}") for number in range(4)]
    # The order of the children: by `order`, then by time; what is invalid as an order is none.
    await child(alice, top, leaves[3], order="x" * 51)
    clock.now += 1
    await child(alice, top, leaves[2], order=7)
    await child(alice, top, leaves[1], order="b")
    await child(alice, top, inner, order="a")
    await child(alice, inner, leaves[0], suggested=True)
    await child(alice, inner, top)  # a loop
    answer = (await ask(rooms.bob, top)).ok()
    assert ids(answer) == [top, inner, leaves[0], leaves[1], leaves[3], leaves[2]]
    assert "next_batch" not in answer
    first, last = answer["rooms"][0], answer["rooms"][-1]
    assert [event["state_key"] for event in first["children_state"]] == [
        inner,
        leaves[1],
        leaves[3],
        leaves[2],
    ]
    assert first["children_state"][0] == {
        "type": "m.space.child",
        "state_key": inner,
        "content": {"via": ["ours.test"], "order": "a"},
        "sender": alice.user_id,
        "origin_server_ts": clock.now,
    }
    assert last == {
        "room_id": leaves[2],
        "name": "leaf 2",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "room_version": "12",
        "children_state": [],
    }
    assert first["room_type"] == "m.space"


async def test_pages(rooms: RoomServer) -> None:
    alice = rooms.alice
    top = await space(alice)
    leaves = [await alice.create(preset="public_chat") for _ in range(5)]
    for number, leaf in enumerate(leaves):
        await child(alice, top, leaf, order=str(number))
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "max_depth": 3}
    while True:
        answer = (await ask(alice, top, **query)).ok()
        assert len(answer["rooms"]) <= 2
        seen += ids(answer)
        if "next_batch" not in answer:
            break
        again = (await ask(alice, top, **{**query, "from": answer["next_batch"]})).ok()
        query["from"] = answer["next_batch"]
        assert again["rooms"], "a token can be used again"
    assert seen == [top, *leaves]
    for changed in ({"max_depth": 2}, {"suggested_only": "true"}, {"from": "h-nonsense"}):
        (await ask(alice, top, **{**query, **changed})).refused(400, "M_INVALID_PARAM")
    (await ask(rooms.bob, top, **query)).refused(400, "M_INVALID_PARAM")
    (await ask(alice, leaves[0], **query)).refused(400, "M_INVALID_PARAM")


async def test_tokens_end(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.services.space_hierarchy.MAX_TOKENS_OF_USER", 2)
    alice, clock = rooms.alice, rooms.services.clock
    top = await space(alice)
    await child(alice, top, await alice.create(preset="public_chat"))

    async def token(client: RoomClient) -> str:
        return str((await ask(client, top, limit=1)).ok()["next_batch"])

    async def is_good(client: RoomClient, token: str) -> bool:
        answer = await ask(client, top, **{"from": token})
        return answer.status == 200 or not answer.refused(400, "M_INVALID_PARAM")

    of_bob, *of_alice = [await token(rooms.bob), *[await token(alice) for _ in range(3)]]
    assert [await is_good(alice, each) for each in of_alice] == [False, True, True], "those of one user"
    assert await is_good(rooms.bob, of_bob)
    clock.now += 15 * 60_000
    assert not await is_good(rooms.bob, of_bob)
    monkeypatch.setattr("homeserver.services.space_hierarchy.MAX_WAITING", 5)
    fresh = [await token(client) for client in (alice, rooms.bob, rooms.carol)]
    clients = (alice, rooms.bob, rooms.carol)
    good = [await is_good(client, each) for client, each in zip(clients, fresh, strict=True)]
    assert good == [False, True, True], "those of all users: each remembers two rooms"


async def test_how_deep(rooms: RoomServer) -> None:
    alice = rooms.alice
    top, inner, leaf = await space(alice), await space(alice), await alice.create(preset="public_chat")
    await child(alice, top, inner)
    await child(alice, inner, leaf)
    assert ids((await ask(alice, top, max_depth=0)).ok()) == [top]
    answer = (await ask(alice, top, max_depth=1)).ok()
    assert ids(answer) == [top, inner] and answer["rooms"][1]["children_state"]
    assert ids((await ask(alice, top, max_depth=10**9)).ok()) == [top, inner, leaf]


async def test_only_suggested_rooms(rooms: RoomServer) -> None:
    alice = rooms.alice
    top = await space(alice)
    yes, no, wrong = [await alice.create(preset="public_chat") for _ in range(3)]
    await child(alice, top, yes, suggested=True)
    await child(alice, top, no, suggested=False)
    await child(alice, top, wrong, suggested="true")
    answer = (await ask(alice, top, suggested_only="true")).ok()
    assert ids(answer) == [top, yes] and len(answer["rooms"][0]["children_state"]) == 1
    assert set(ids((await ask(alice, top, suggested_only="false")).ok())) == {top, yes, no, wrong}


async def test_what_is_no_child(rooms: RoomServer) -> None:
    alice = rooms.alice
    top, leaf = await space(alice), await alice.create(preset="public_chat")
    for content in ({"via": None}, {"via": []}, {"via": "ours.test"}, {"via": ["/"]}, {"via": [7]}):
        await child(alice, top, leaf, **content)
        answer = (await ask(alice, top)).ok()
        assert ids(answer) == [top] and answer["rooms"][0]["children_state"] == []
    await child(alice, top, "nonsense")
    assert ids((await ask(alice, top)).ok()) == [top]
    # A room that is no space has no children.
    await child(alice, leaf, top)
    answer = (await ask(alice, leaf)).ok()
    assert ids(answer) == [leaf] and answer["rooms"][0]["children_state"] == []


async def test_only_rooms_that_the_user_may_know_of(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    top = await space(alice)

    async def room(join_rule: Any, visibility: str = "shared") -> str:
        initial = [
            {"type": "m.room.join_rules", "state_key": "", "content": join_rule},
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": visibility},
            },
        ]
        made = await alice.create(initial_state=initial)
        await child(alice, top, made)
        return made

    allow = [{"type": "m.room_membership", "room_id": top}]
    secret, invited = await room({"join_rule": "invite"}), await room({"join_rule": "invite"})
    knock, unknown = await room({"join_rule": "knock"}), await room({"join_rule": "future"})
    readable = await room({"join_rule": "invite"}, "world_readable")
    restricted = await room({"join_rule": "restricted", "allow": allow})
    asking = await room({"join_rule": "knock_restricted", "allow": allow})
    banned = await room({"join_rule": "public"})
    (await alice.invite(invited, bob.user_id)).ok()
    (await alice.post(f"/rooms/{quote(banned)}/ban", {"user_id": bob.user_id})).ok()
    before = set(ids((await ask(bob, top)).ok()))
    assert before == {top, invited, knock, readable, asking}
    await bob.join(top)
    answer = (await ask(bob, top)).ok()
    assert set(ids(answer)) == before | {restricted}
    assert next(room for room in answer["rooms"] if room["room_id"] == restricted)["allowed_room_ids"] == [
        top
    ]
    assert set(ids((await ask(alice, top)).ok())) == {
        *before,
        restricted,
        secret,
        unknown,
        banned,
    }
    for hidden in (secret, unknown, banned, "!nowhere"):
        (await ask(bob, hidden)).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": "many"}, {"max_depth": -1}, {"suggested_only": "perhaps"}],
)
async def test_questions_that_cannot_be(rooms: RoomServer, query: dict[str, Any]) -> None:
    top = await space(rooms.alice)
    (await ask(rooms.alice, top, **query)).refused(400, "M_INVALID_PARAM")


async def test_it_takes_an_account(rooms: RoomServer) -> None:
    (await rooms.client.get("/_matrix/client/v1/rooms/!any/hierarchy")).refused(401, "M_MISSING_TOKEN")
