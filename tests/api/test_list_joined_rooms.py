"""The rooms a user is in."""

from tests.support.room_server import BOB, RoomServer


async def test_joined_rooms_are_those_joined(rooms: RoomServer) -> None:
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": []}
    first, second = await rooms.alice.create(invite=[BOB]), await rooms.alice.create()
    third = await rooms.alice.create()
    await rooms.alice.leave(third)
    assert set((await rooms.alice.get("/joined_rooms")).ok()["joined_rooms"]) == {first, second}
    assert (await rooms.bob.get("/joined_rooms")).ok() == {"joined_rooms": []}
    await rooms.bob.join(first)
    assert (await rooms.bob.get("/joined_rooms")).ok() == {"joined_rooms": [first]}
    (await rooms.client.get("/_matrix/client/v3/joined_rooms")).refused(401, "M_MISSING_TOKEN")
