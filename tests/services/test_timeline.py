"""Local events: how they are built, judged, stored and told of."""

import asyncio

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signing import required_signatures
from homeserver.services.timeline import ClientTransaction, Draft
from homeserver.storage import events, memberships, rooms
from tests.support.rooms import RoomServices

ALICE, BOB = "@alice:ours.test", "@bob:ours.test"


@pytest.mark.parametrize("version", ROOM_VERSIONS)
async def test_a_room_of_every_version_holds_a_conversation(services: RoomServices, version: str) -> None:
    room_id = await services.room(ALICE, version)
    await services.join(room_id, BOB)
    event_id = await services.say(room_id, BOB, "hello")

    room = await services.database.read(lambda tx: rooms.get(tx, room_id))
    assert room is not None and room.version == version
    stored = await services.database.read(lambda tx: events.get(tx, event_id))
    assert stored is not None
    assert stored.event.content["body"] == "hello"
    assert stored.event.room_id == room_id
    assert required_signatures(stored.event) == {"ours.test"}
    assert await services.database.read(lambda tx: rooms.forward_extremities(tx, room.room_nid)) == [event_id]
    joined = await services.database.read(lambda tx: memberships.of_room(tx, room.room_nid, ("join",)))
    assert [member.user_id for member in joined] == [ALICE, BOB]
    assert await services.database.read(lambda tx: memberships.joined_servers(tx, room.room_nid)) == [
        "ours.test"
    ]


async def test_the_same_transaction_sends_once(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    transaction = ClientTransaction(ALICE, "DEVICE", room_id, "1")
    draft = Draft(ALICE, "m.room.message", {"body": "once"})
    first = await services.timeline.send(room_id, draft, transaction=transaction)
    assert await services.timeline.send(room_id, draft, transaction=transaction) == first


async def test_state_that_changes_nothing_is_not_sent_again(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    draft = Draft(ALICE, "m.room.topic", {"topic": "x"}, "")
    first = await services.timeline.send(room_id, draft)
    told = len(services.committed)
    assert await services.timeline.send(room_id, draft) == first
    assert all(not committed.rooms for committed in services.committed[told:])


async def test_a_refused_event_leaves_nothing_behind(services: RoomServices) -> None:
    room_id = await services.room(ALICE, join_rule="invite")
    before = await services.database.read(lambda tx: rooms.get(tx, room_id))
    with pytest.raises(MatrixError) as refused:
        await services.say(room_id, BOB, "let me in")
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    assert await services.database.read(lambda tx: rooms.get(tx, room_id)) == before


async def test_an_unknown_room_is_forbidden(services: RoomServices) -> None:
    with pytest.raises(MatrixError) as refused:
        await services.say("!nowhere:ours.test", ALICE, "hello")
    assert refused.value.errcode == "M_FORBIDDEN"


async def test_many_at_once_make_one_line(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    sent = await asyncio.gather(*(services.say(room_id, ALICE, str(number)) for number in range(50)))
    assert len(set(sent)) == 50
    room = await services.database.read(lambda tx: rooms.get(tx, room_id))
    assert room is not None
    ends = await services.database.read(lambda tx: rooms.forward_extremities(tx, room.room_nid))
    assert len(ends) == 1
    shown, more = await services.database.read(
        lambda tx: events.timeline(tx, room.room_nid, after=0, up_to=2**60, limit=100)
    )
    assert not more
    assert [stored.position for stored in shown] == sorted(stored.position or 0 for stored in shown)
    assert {stored.event.event_id for stored in shown} >= set(sent)


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_a_redaction_leaves_the_redacted_form_alone(services: RoomServices, version: str) -> None:
    room_id = await services.room(ALICE, version)
    await services.join(room_id, BOB)
    event_id = await services.say(room_id, BOB, "secret")
    redaction = await services.timeline.send(
        room_id, Draft(ALICE, "m.room.redaction", {"reason": "spam"}, redacts=event_id)
    )
    stored = await services.database.read(lambda tx: events.get(tx, event_id))
    assert stored is not None and stored.redacted_by == redaction
    assert stored.event.content == {} and b"secret" not in stored.event.canonical


async def test_a_redaction_of_anothers_event_without_the_level_has_no_effect(services: RoomServices) -> None:
    room_id = await services.room(ALICE, "11")
    await services.join(room_id, BOB)
    event_id = await services.say(room_id, ALICE, "stays")
    power = {"users": {ALICE: 100, "@eve:ours.test": 0}, "events": {"m.room.redaction": 0}}
    await services.timeline.send(room_id, Draft(ALICE, "m.room.power_levels", power, ""))
    stored = await services.database.read(lambda tx: events.get(tx, event_id))
    assert stored is not None and stored.redacted_by is None


async def test_who_waits_is_told_of_rooms_and_of_users(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    await services.join(room_id, BOB)
    assert services.committed[-1].rooms == {room_id}
    assert services.committed[-1].users == {BOB}


async def test_state_that_differs_in_type_alone_is_a_change(services: RoomServices) -> None:
    """In Python True is 1, in JSON it is not."""
    room_id = await services.room(ALICE)
    first = await services.timeline.send(room_id, Draft(ALICE, "org.example.flag", {"on": 1}, ""))
    assert await services.timeline.send(room_id, Draft(ALICE, "org.example.flag", {"on": True}, "")) != first


async def test_who_is_uninvited_is_told_though_the_server_is_not_in_the_room(services: RoomServices) -> None:
    room_id = await services.room(ALICE)
    invited = "@guest:gamma.test"
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "invite"}, invited))
    assert services.committed[-1].destinations == set()
    await services.timeline.send(room_id, Draft(ALICE, "m.room.member", {"membership": "leave"}, invited))
    assert services.committed[-1].destinations == {"gamma.test"}


@pytest.mark.parametrize("content", [{"a": 1.5}, {"a": 2**60}, {"a": "\ud800"}])
async def test_content_that_is_not_canonical_json_is_refused(
    services: RoomServices, content: dict[str, object]
) -> None:
    room_id = await services.room(ALICE)
    for state_key in (None, "", "again"):
        with pytest.raises(MatrixError) as refused:
            await services.timeline.send(room_id, Draft(ALICE, "org.example", content, state_key))
        assert refused.value.status == 400


@pytest.mark.parametrize("state_key", ["a\0b", "\ud800", "x" * 256])
async def test_a_state_key_that_cannot_be_kept_is_refused(services: RoomServices, state_key: str) -> None:
    room_id = await services.room(ALICE)
    with pytest.raises(MatrixError) as refused:
        await services.timeline.send(room_id, Draft(ALICE, "org.example", {}, state_key))
    assert refused.value.status in (400, 413)
