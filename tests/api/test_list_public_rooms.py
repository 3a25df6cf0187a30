"""The published room directory."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.services.public_rooms import RoomsQuery
from tests.support.room_server import ROOT, SERVER, RoomClient, RoomServer, room_server


def path(room_id: str) -> str:
    return f"/directory/list/room/{quote(room_id)}"


async def search(client: RoomClient, **body: Any) -> Any:
    return (await client.post("/publicRooms", body)).ok()


async def test_a_room_in_all_its_details(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(
        visibility="public",
        room_alias_name="cheese",
        name="CHEESE",
        topic="Tasty tasty cheese",
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://ours.test/brie"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    await rooms.bob.join(room_id)
    expected = {
        "room_id": room_id,
        "num_joined_members": 2,
        "world_readable": True,
        "guest_can_join": True,
        "name": "CHEESE",
        "topic": "Tasty tasty cheese",
        "canonical_alias": "#cheese:ours.test",
        "avatar_url": "mxc://ours.test/brie",
        "join_rule": "public",
        "room_type": "m.space",
    }
    for answer in (
        (await rooms.client.get("/_matrix/client/v3/publicRooms")).ok(),
        (await rooms.client.get("/_matrix/client/r0/publicRooms")).ok(),
        await search(rooms.alice),
    ):
        assert answer == {"chunk": [expected], "total_room_count_estimate": 1}


async def test_a_room_of_which_nothing_is_known(rooms: RoomServer) -> None:
    odd = {"name": 7, "url": ["x"], "alias": "x", "topic": {}, "m.topic": {"m.text": "x"}}
    kinds = ("m.room.name", "m.room.avatar", "m.room.topic")
    room_id = await rooms.alice.create(
        visibility="public", initial_state=[{"type": kind, "content": odd} for kind in kinds]
    )
    (entry,) = (await search(rooms.alice))["chunk"]
    assert entry == {
        "room_id": room_id,
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
    }


async def test_a_plain_topic_among_others(rooms: RoomServer) -> None:
    html = {"mimetype": "text/html", "body": "<b>x</b>"}
    topic = {"topic": "old", "m.topic": {"m.text": [html, {"body": "plain"}]}}
    await rooms.alice.create(visibility="public", initial_state=[{"type": "m.room.topic", "content": topic}])
    assert (await search(rooms.alice))["chunk"][0]["topic"] == "plain"


async def test_pages_there_and_back(rooms: RoomServer) -> None:
    made = [await rooms.alice.create(visibility="public", name=f"room {number}") for number in range(5)]
    await rooms.alice.create(visibility="private", preset="public_chat")
    await rooms.bob.join(made[3])
    whole = [entry["room_id"] for entry in (await search(rooms.alice))["chunk"]]
    assert set(whole) == set(made) and whole[0] == made[3], "the largest first"
    first = await search(rooms.alice, limit=2)
    assert first["total_room_count_estimate"] == 5 and "prev_batch" not in first
    second = (await rooms.alice.get("/publicRooms", limit=2, since=first["next_batch"])).ok()
    third = await search(rooms.alice, limit=2, since=second["next_batch"])
    assert "next_batch" not in third
    shown = [entry["room_id"] for page in (first, second, third) for entry in page["chunk"]]
    assert shown == whole
    back = await search(rooms.alice, limit=2, since=third["prev_batch"])
    assert back["chunk"] == second["chunk"]
    assert (back["prev_batch"], back["next_batch"]) == (second["prev_batch"], second["next_batch"])
    # What is before a page does not reach into it, however much is asked for.
    first = await search(rooms.alice, limit=1)
    second = await search(rooms.alice, limit=2, since=first["next_batch"])
    back = await search(rooms.alice, limit=3, since=second["prev_batch"])
    assert back["chunk"] == first["chunk"] and "prev_batch" not in back
    assert (await search(rooms.alice, limit=2, since=back["next_batch"]))["chunk"] == second["chunk"]
    assert await search(rooms.alice, limit=0) == await search(rooms.alice)
    assert (await search(rooms.alice, limit=10**9))["chunk"] == (await search(rooms.alice))["chunk"]


async def test_searching(rooms: RoomServer) -> None:
    cheese = await rooms.alice.create(visibility="public", name="CHEESE", room_alias_name="brie")
    wine = await rooms.alice.create(visibility="public", topic="Wine, and some cheese")
    space = await rooms.alice.create(visibility="public", creation_content={"type": "m.space"})

    async def found(**wanted: Any) -> set[str]:
        return {entry["room_id"] for entry in (await search(rooms.bob, filter=wanted))["chunk"]}

    assert await found() == {cheese, wine, space}
    assert await found(generic_search_term="Cheese") == {cheese, wine}
    assert await found(generic_search_term="BRIE") == {cheese}
    assert await found(generic_search_term="beer") == set()
    assert await found(generic_search_term="a\0b") == set()
    assert await found(room_types=["m.space"]) == {space}
    assert await found(room_types=[None]) == {cheese, wine}
    assert await found(room_types=[None, "m.space"]) == {cheese, wine, space}
    assert await found(room_types=[]) == set()
    assert await found(generic_search_term="wine", room_types=[None]) == {wine}


async def test_other_networks_have_no_rooms_here(rooms: RoomServer) -> None:
    await rooms.alice.create(visibility="public")
    assert len((await search(rooms.alice, include_all_networks=True))["chunk"]) == 1
    irc = {"third_party_instance_id": "irc|example"}
    refusal = (await rooms.alice.post("/publicRooms", irc)).refused(400, "M_INVALID_PARAM")
    assert "no third-party network 'irc|example'" in refusal["error"]
    both = {"include_all_networks": True, "third_party_instance_id": "irc"}
    (await rooms.alice.post("/publicRooms", both)).refused(400, "M_INVALID_PARAM")


async def test_the_directories_of_other_servers(rooms: RoomServer) -> None:
    rooms.remote.rooms = {"chunk": [], "next_batch": "theirs"}
    body = {"limit": 3, "since": "x", "filter": {"generic_search_term": "y", "room_types": [None]}}
    answer = await rooms.alice.post("/publicRooms", body, server="theirs.test")
    assert answer.ok() == {"chunk": [], "next_batch": "theirs"}
    query = RoomsQuery(3, "x", "y", (None,))
    assert rooms.remote.asked == [{"server": "theirs.test", "query": query}]
    await rooms.alice.post("/publicRooms", {}, server=SERVER)
    assert len(rooms.remote.asked) == 1, "ours is not asked for over the network"
    (await rooms.alice.post("/publicRooms", {}, server="not a name")).refused(400, "M_INVALID_PARAM")
    unknown = await rooms.client.get("/_matrix/client/v3/publicRooms?server=theirs.test")
    unknown.refused(401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"limit": -1}, "M_BAD_JSON"),
        ({"limit": "3"}, "M_BAD_JSON"),
        ({"since": "nonsense"}, "M_INVALID_PARAM"),
        ({"since": "r" + "9" * 30}, "M_INVALID_PARAM"),
        ({"filter": {"room_types": "m.space"}}, "M_BAD_JSON"),
        ({"filter": []}, "M_BAD_JSON"),
    ],
)
async def test_searches_that_are_refused(rooms: RoomServer, body: Any, errcode: str) -> None:
    (await rooms.alice.post("/publicRooms", body)).refused(400, errcode)


async def test_visibility_is_set_and_told(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    anyone = "/_matrix/client/v3" + path(room_id)
    assert (await rooms.client.get(anyone)).ok() == {"visibility": "private"}
    assert (await rooms.alice.put(path(room_id), {})).ok() == {}, "public is the default"
    assert (await rooms.client.get(anyone)).ok() == {"visibility": "public"}
    assert (await rooms.alice.put(path(room_id), {"visibility": "private"})).ok() == {}
    assert (await search(rooms.alice))["chunk"] == []
    (await rooms.alice.put(path(room_id), {"visibility": "secret"})).refused(400, "M_BAD_JSON")
    (await rooms.client.get("/_matrix/client/v3" + path("!none:ours.test"))).refused(404, "M_NOT_FOUND")
    (await rooms.alice.put(path("!none:ours.test"), {})).refused(404, "M_NOT_FOUND")


async def test_who_may_publish_a_room(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.bob.put(path(room_id), {})).refused(403, "M_FORBIDDEN")
    await rooms.bob.join(room_id)
    (await rooms.bob.put(path(room_id), {})).refused(403, "M_FORBIDDEN")
    (await rooms.user(ROOT).put(path(room_id), {})).ok()


async def test_a_room_that_all_have_left_is_not_listed(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(visibility="public")
    await rooms.alice.leave(room_id)
    assert (await search(rooms.bob))["chunk"] == []


async def test_the_operator_may_close_the_directory_to_strangers(tmp_path: Path) -> None:
    async with room_server(tmp_path, is_directory_open=False) as rooms:
        listed = "/_matrix/client/v3/publicRooms"
        (await rooms.client.get(listed)).refused(401, "M_MISSING_TOKEN")
        (await rooms.client.with_token("nobody's").get(listed)).refused(401, "M_UNKNOWN_TOKEN")
        assert (await search(rooms.alice))["chunk"] == []
