"""Room aliases."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.room_server import ROOT, RoomServer

LOBBY = "/directory/room/%23lobby:ours.test"
CANONICAL = "m.room.canonical_alias"


async def test_an_alias_is_made_and_found(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    assert (await rooms.alice.put(LOBBY, {"room_id": room_id})).ok() == {}
    found = (await rooms.client.get("/_matrix/client/v3" + LOBBY)).ok()
    assert found == {"room_id": room_id, "servers": ["ours.test"]}
    assert (await rooms.client.get("/_matrix/client/r0" + LOBBY)).ok() == found
    (await rooms.alice.put(LOBBY, {"room_id": room_id})).refused(409, "M_UNKNOWN")
    path = f"/rooms/{quote(room_id)}/aliases"
    (await rooms.alice.put("/directory/room/%23a%2Fb%20%C3%A4:ours.test", {"room_id": room_id})).ok()
    assert (await rooms.alice.get(path)).ok() == {"aliases": ["#a/b ä:ours.test", "#lobby:ours.test"]}


async def test_the_servers_in_the_room_are_named_ours_first(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", room_alias_name="lobby")
    room_nid = await rooms.services.database.read(
        lambda tx: tx.fetch_value("SELECT room_nid FROM rooms WHERE room_id = $1", room_id)
    )
    for server in ("a.test", "z.test"):
        await rooms.services.database.write(
            lambda tx, server=server: tx.execute(  # type: ignore[misc]
                "INSERT INTO room_servers (room_nid, server, joined) VALUES ($1, $2, 1)", room_nid, server
            )
        )
    assert (await rooms.alice.get(LOBBY)).ok()["servers"] == ["ours.test", "a.test", "z.test"]


async def test_an_alias_elsewhere_is_looked_up_there(rooms: RoomServer) -> None:
    rooms.remote.aliases["#far:theirs.test"] = ("!far:theirs.test", ["theirs.test", "a.test"])
    found = (await rooms.client.get("/_matrix/client/v3/directory/room/%23far:theirs.test")).ok()
    assert found == {"room_id": "!far:theirs.test", "servers": ["theirs.test", "a.test"]}
    (await rooms.alice.get("/directory/room/%23none:theirs.test")).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize(
    "alias", ["lobby", "%23lobby", "%23lobby:", "!lobby:ours.test", "%23" + "x" * 300 + ":ours.test"]
)
async def test_what_is_no_alias(rooms: RoomServer, method: str, alias: str) -> None:
    arguments = [{"room_id": "!x:ours.test"}] if method == "put" else []
    answer = await getattr(rooms.alice, method)(f"/directory/room/{alias}", *arguments)
    answer.refused(400, "M_INVALID_PARAM")


async def test_who_may_make_which_alias(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.bob.put(LOBBY, {"room_id": room_id})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.put(LOBBY, {"room_id": "!none:ours.test"})).refused(403, "M_FORBIDDEN")
    elsewhere = await rooms.alice.put("/directory/room/%23lobby:theirs.test", {"room_id": room_id})
    elsewhere.refused(400, "M_INVALID_PARAM")
    for wrong, errcode in (
        ({}, "M_BAD_JSON"),
        ({"room_id": 7}, "M_BAD_JSON"),
        ({"room_id": "x\0"}, "M_INVALID_PARAM"),
    ):
        (await rooms.alice.put(LOBBY, wrong)).refused(400, errcode)  # fmt: skip
    (await rooms.client.put("/_matrix/client/v3" + LOBBY)).refused(401, "M_MISSING_TOKEN")
    (await rooms.alice.get(LOBBY)).refused(404, "M_NOT_FOUND")


async def test_who_may_delete_an_alias(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    await rooms.carol.join(room_id)
    (await rooms.alice.delete(LOBBY)).refused(404, "M_NOT_FOUND")
    (await rooms.bob.put(LOBBY, {"room_id": room_id})).ok()
    (await rooms.carol.delete(LOBBY)).refused(403, "M_FORBIDDEN")
    assert (await rooms.bob.delete(LOBBY)).ok() == {}, "who made it"
    for other in (rooms.alice, rooms.user(ROOT)):
        (await rooms.bob.put(LOBBY, {"room_id": room_id})).ok()
        assert (await other.delete(LOBBY)).ok() == {}, "a moderator of the room, an administrator"
    (await rooms.alice.get(LOBBY)).refused(404, "M_NOT_FOUND")


async def test_a_deleted_alias_leaves_the_canonical_ones(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", room_alias_name="lobby")
    await rooms.bob.join(room_id)
    (await rooms.bob.put("/directory/room/%23second:ours.test", {"room_id": room_id})).ok()
    both = {"alias": "#lobby:ours.test", "alt_aliases": ["#second:ours.test", "#lobby:ours.test"], "x": 1}
    (await rooms.alice.set_state(room_id, CANONICAL, both)).ok()
    (await rooms.bob.delete("/directory/room/%23second:ours.test")).ok()
    assert (await rooms.alice.state(room_id, CANONICAL)).ok() == both, "bob may not set it"
    (await rooms.alice.delete(LOBBY)).ok()
    expected: dict[str, Any] = {"alt_aliases": ["#second:ours.test"], "x": 1}
    assert (await rooms.alice.state(room_id, CANONICAL)).ok() == expected


async def test_who_may_list_the_aliases_of_a_room(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", room_alias_name="lobby")
    path = f"/rooms/{quote(room_id)}/aliases"
    (await rooms.bob.get(path)).refused(403, "M_FORBIDDEN")
    await rooms.bob.join(room_id)
    assert (await rooms.bob.get(path)).ok() == {"aliases": ["#lobby:ours.test"]}
    unstable = f"/_matrix/client/unstable/org.matrix.msc2432/rooms/{quote(room_id)}/aliases"
    assert (await rooms.bob.http.get(unstable)).ok() == {"aliases": ["#lobby:ours.test"]}
    await rooms.bob.leave(room_id)
    (await rooms.bob.get(path)).refused(403, "M_FORBIDDEN")
    (await rooms.alice.get("/rooms/nonsense/aliases")).refused(400, "M_INVALID_PARAM")
    empty = await rooms.alice.create()
    assert (await rooms.alice.get(f"/rooms/{quote(empty)}/aliases")).ok() == {"aliases": []}
