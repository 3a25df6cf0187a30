"""Redacting events."""

from urllib.parse import quote

import pytest

from tests.support.client import Answer
from tests.support.room_server import ALICE, ROOT, RoomClient, RoomServer

OOPS = {"membership": "join", "displayname": "oops"}


async def redact(
    client: RoomClient, room_id: str, event_id: str, transaction: str = "1", body: object = None
) -> Answer:
    return await client.put(
        f"/rooms/{quote(room_id)}/redact/{quote(event_id, safe='')}/{quote(transaction, safe='')}", body
    )  # fmt: skip


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_a_redacted_event_has_lost_its_content(rooms: RoomServer, version: str) -> None:
    room_id = await rooms.alice.create(room_version=version)
    target = await rooms.alice.say(room_id, "oops")
    answer = await redact(rooms.alice, room_id, target, body={"reason": "Indecent material"})
    redaction = answer.ok()["event_id"]
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(target, safe='')}")).ok()
    assert event["content"] == {}
    because = event["unsigned"]["redacted_because"]
    assert (because["event_id"], because["redacts"]) == (redaction, target)
    assert because["content"] == {"reason": "Indecent material", "redacts": target}


async def test_redacted_state_says_so_in_lists_of_state(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(name="room")
    path = f"/rooms/{quote(room_id)}"
    targets = [
        (await rooms.alice.put(f"{path}/state/m.room.topic", {"topic": "oops"})).ok()["event_id"],
        (await rooms.alice.put(f"{path}/state/m.room.member/{quote(ALICE)}", OOPS)).ok()["event_id"],
    ]
    said = await rooms.alice.say(room_id, "last")
    redactions = [(await redact(rooms.alice, room_id, target, target)).ok()["event_id"] for target in targets]
    state = (await rooms.alice.get(f"{path}/state")).ok()
    members = (await rooms.alice.get(f"{path}/members")).ok()["chunk"]
    context = (await rooms.alice.get(f"{path}/context/{quote(said)}")).ok()["state"]
    for shown, expected in ((state, 2), (context, 2), (members, 1)):
        because = {
            event["event_id"]: event["unsigned"]["redacted_because"]
            for event in shown
            if "redacted_because" in event["unsigned"]
        }
        told = [because[target]["event_id"] for target in targets if target in because]
        assert told == redactions[-expected:]
        assert all(each["room_id"] == room_id for each in because.values())


async def test_the_transaction_is_done_once(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    target = await rooms.alice.say(room_id, "oops")
    first = (await redact(rooms.alice, room_id, target)).ok()
    assert (await redact(rooms.alice, room_id, target)).ok() == first
    assert (await redact(rooms.alice, room_id, target, "2")).ok() != first


async def test_own_events_for_everybody_those_of_others_for_moderators(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    of_alice, of_bob = await rooms.alice.say(room_id, "a"), await rooms.bob.say(room_id, "b")
    (await redact(rooms.bob, room_id, of_alice)).refused(403, "M_FORBIDDEN")
    (await redact(rooms.bob, room_id, of_bob)).ok()
    second = await rooms.bob.say(room_id, "b2")
    (await redact(rooms.alice, room_id, second)).ok()
    (await redact(rooms.carol, room_id, of_alice)).refused(403, "M_FORBIDDEN")


async def test_an_administrator_of_the_server_may_redact_what_its_users_sent(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.user(ROOT).join(room_id)
    target = await rooms.alice.say(room_id, "a")
    (await redact(rooms.user(ROOT), room_id, target)).ok()
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(target)}")).ok()
    assert event["content"] == {}


async def test_what_cannot_be_redacted(rooms: RoomServer) -> None:
    room_id, other = await rooms.alice.create(), await rooms.alice.create()
    elsewhere = await rooms.alice.say(other, "x")
    (await redact(rooms.alice, room_id, elsewhere)).refused(404, "M_NOT_FOUND")
    (await redact(rooms.alice, room_id, "$nothing")).refused(404, "M_NOT_FOUND")
    (await redact(rooms.alice, room_id, "nonsense")).refused(404, "M_NOT_FOUND")
    (await redact(rooms.alice, "!none:ours.test", elsewhere)).refused(403, "M_FORBIDDEN")
    page = await rooms.alice.messages(room_id, dir="f", limit=1)
    (await redact(rooms.alice, room_id, page["chunk"][0]["event_id"])).refused(403, "M_FORBIDDEN")
    own = await rooms.alice.say(room_id, "x")
    (await redact(rooms.alice, room_id, own, body={"reason": 7})).refused(400, "M_BAD_JSON")
    (await redact(rooms.alice, room_id, own, "t" * 300)).refused(400, "M_INVALID_PARAM")


async def test_a_repeated_request_is_answered_also_when_it_would_be_refused_by_now(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    target = await rooms.bob.say(room_id, "oops")
    first = (await redact(rooms.bob, room_id, target)).ok()
    await rooms.bob.leave(room_id)
    assert (await redact(rooms.bob, room_id, target)).ok() == first
    (await redact(rooms.bob, room_id, target, "2")).refused(403, "M_FORBIDDEN")


async def test_the_redaction_beside_the_event_is_in_the_same_form(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    target = await rooms.alice.say(room_id, "oops")
    (await redact(rooms.alice, room_id, target)).ok()
    rooms.services.clock.now += 5
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(target)}")).ok()
    synced = (await rooms.alice.sync())["rooms"]["join"][room_id]["timeline"]["events"]
    (same,) = (each for each in synced if each["event_id"] == target)
    because, there = event["unsigned"]["redacted_because"], same["unsigned"]["redacted_because"]
    assert because.pop("room_id") == room_id and because == there
    assert there["unsigned"]["age"] == 5
