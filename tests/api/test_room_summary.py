"""What a room is, before one joins it."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.client import Answer, Client
from tests.support.room_server import RoomServer


async def ask(client: Client, room: str, **query: Any) -> Answer:
    path = f"/_matrix/client/v1/room_summary/{quote(room, safe='')}"
    return await client.get(f"{path}?{urlencode(query, doseq=True)}".rstrip("?"))


async def test_a_summary(rooms: RoomServer) -> None:
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room_id = await rooms.alice.create(
        preset="public_chat",
        name="Garden",
        topic="Roots",
        room_alias_name="garden",
        initial_state=[encryption],
    )
    wanted = {
        "room_id": room_id,
        "name": "Garden",
        "topic": "Roots",
        "canonical_alias": "#garden:ours.test",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "join_rule": "public",
        "encryption": "m.megolm.v1.aes-sha2",
        "room_version": "12",
    }
    assert (await ask(rooms.client, room_id)).ok() == wanted
    assert (await ask(rooms.client, "#garden:ours.test")).ok() == wanted
    assert (await ask(rooms.bob.http, room_id)).ok() == wanted | {"membership": "leave"}
    assert (await ask(rooms.alice.http, "#garden:ours.test")).ok() == wanted | {"membership": "join"}


async def test_the_paths_of_the_proposal(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="Garden")
    unstable = "/_matrix/client/unstable/im.nheko.summary"
    for path in (f"summary/{quote(room_id)}", f"rooms/{quote(room_id)}/summary"):
        assert (await rooms.alice.http.get(f"{unstable}/{path}")).ok()["name"] == "Garden"


async def test_memberships(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (await ask(rooms.bob.http, room_id)).refused(404, "M_NOT_FOUND")
    (await rooms.alice.invite(room_id, rooms.bob.user_id)).ok()
    assert (await ask(rooms.bob.http, room_id)).ok()["membership"] == "invite"
    (await ask(rooms.client, room_id)).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("room", ["!nowhere:ours.test", "#nothing:ours.test", "#x:theirs.test"])
async def test_what_there_is_not(rooms: RoomServer, room: str) -> None:
    (await ask(rooms.client, room)).refused(404, "M_NOT_FOUND")
    (await ask(rooms.alice.http, room)).refused(404, "M_NOT_FOUND")


async def test_questions_that_cannot_be(rooms: RoomServer) -> None:
    (await ask(rooms.alice.http, "nonsense")).refused(400, "M_INVALID_PARAM")
    (await ask(rooms.alice.http, "!room:ours.test", via=["ours.test", "/"])).refused(400, "M_INVALID_PARAM")
