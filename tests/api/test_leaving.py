"""Leaving rooms, refusing invites, forgetting."""

from urllib.parse import quote

from tests.support.room_server import BOB, RoomServer


async def test_who_leaves_sees_the_room_as_it_was(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat", name="before")
    await rooms.bob.join(room_id)
    seen = await rooms.alice.say(room_id, "while bob is here")
    answer = await rooms.bob.post(f"/rooms/{quote(room_id)}/leave", {"reason": "Saying farewell"})
    assert answer.ok() == {}
    hidden = await rooms.alice.say(room_id, "when bob is gone")
    (await rooms.alice.set_state(room_id, "m.room.name", {"name": "after"})).ok()
    assert (await rooms.bob.state(room_id, "m.room.name")).ok() == {"name": "before"}
    own = (await rooms.bob.state(room_id, "m.room.member", BOB)).ok()
    assert own == {"membership": "leave", "reason": "Saying farewell"}
    page = await rooms.bob.messages(room_id, dir="b", limit=2)
    assert [event["event_id"] for event in page["chunk"]][1:] == [seen]
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/event/{quote(seen)}")).ok()
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/event/{quote(hidden)}")).refused(404, "M_NOT_FOUND")
    (await rooms.bob.send(room_id, {"msgtype": "m.text", "body": "still here?"})).refused(403, "M_FORBIDDEN")


async def test_leaving_twice_is_no_error(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    await rooms.alice.leave(room_id)
    await rooms.alice.leave(room_id)


async def test_an_invite_is_refused_by_leaving(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(invite=[BOB])
    await rooms.bob.leave(room_id)
    assert "rooms" not in await rooms.bob.sync()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/join")).refused(403, "M_FORBIDDEN")


async def test_who_never_was_there_cannot_leave(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/leave")).refused(403, "M_FORBIDDEN")
    (await rooms.bob.post("/rooms/!none:ours.test/leave")).refused(403, "M_FORBIDDEN")


async def test_a_ban_cannot_be_left(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": BOB})).ok()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/leave")).refused(403, "M_FORBIDDEN")


async def test_a_room_that_was_left_can_be_forgotten(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    event_id = await rooms.alice.say(room_id, "hello")
    forget = f"/rooms/{quote(room_id)}/forget"
    (await rooms.bob.post(forget)).refused(400, "M_UNKNOWN")
    await rooms.bob.leave(room_id)
    await rooms.bob.messages(room_id, dir="b")
    assert (await rooms.bob.post(forget)).ok() == {}
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/messages?dir=b")).refused(403, "M_FORBIDDEN")
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/state")).refused(403, "M_FORBIDDEN")
    (await rooms.bob.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}")).refused(404, "M_NOT_FOUND")
    archived = '{"room":{"include_leave":true}}'
    assert "rooms" not in await rooms.bob.sync(filter=archived)
    await rooms.bob.join(room_id)
    assert (await rooms.bob.messages(room_id, dir="b", limit=3))["chunk"][2]["event_id"] == event_id


async def test_a_room_never_seen_cannot_be_forgotten(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (await rooms.bob.post(f"/rooms/{quote(room_id)}/forget")).refused(404, "M_NOT_FOUND")


async def test_other_devices_are_told_of_leaving_though_the_room_is_forgotten(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    since = (await rooms.alice.sync())["next_batch"]
    await rooms.alice.leave(room_id)
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/forget")).ok()
    assert room_id in (await rooms.alice.sync(since))["rooms"]["leave"]
