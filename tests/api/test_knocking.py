"""POST /knock."""

from homeserver.services.timeline import Draft
from tests.support.room_server import ALICE, BOB, RoomServer

KNOCK = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}


async def test_knocking_on_a_room_and_being_let_in(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(initial_state=[KNOCK], room_alias_name="club", name="Club")
    answer = await rooms.bob.post("/knock/%23club:ours.test", {"reason": "please"})
    assert answer.ok() == {"room_id": room_id}
    shown = (await rooms.bob.sync())["rooms"]["knock"][room_id]["knock_state"]["events"]
    told = {event["type"]: event["content"] for event in shown}
    assert told["m.room.name"] == {"name": "Club"}
    assert told["m.room.member"]["reason"] == "please"
    content = (await rooms.alice.state(room_id, "m.room.member", BOB)).ok()
    assert content["membership"] == "knock"
    (await rooms.alice.invite(room_id, BOB)).ok()
    await rooms.bob.join(room_id)
    (await rooms.bob.post(f"/knock/{room_id}")).refused(403, "M_FORBIDDEN")


async def test_a_knock_is_refused(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(initial_state=[KNOCK])
    (await rooms.bob.post(f"/knock/{room_id}")).ok()
    (await rooms.alice.post(f"/rooms/{room_id}/kick", {"user_id": BOB})).ok()
    assert "knock" not in (await rooms.bob.sync()).get("rooms", {})


async def test_rooms_that_take_no_knocks(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="private_chat")
    (await rooms.bob.post(f"/knock/{room_id}")).refused(403, "M_FORBIDDEN")
    (await rooms.bob.post("/knock/nonsense")).refused(400, "M_INVALID_PARAM")
    (await rooms.bob.post("/knock/%23nothing:ours.test")).refused(404, "M_NOT_FOUND")
    (await rooms.bob.post("/knock/!" + "A" * 43)).refused(404, "M_NOT_FOUND")


async def test_who_is_banned_cannot_knock(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(initial_state=[KNOCK])
    ban = Draft(ALICE, "m.room.member", {"membership": "ban"}, BOB)
    await rooms.services.timeline.send(room_id, ban)
    (await rooms.bob.post(f"/knock/{room_id}")).refused(403, "M_FORBIDDEN")
