"""History from before we were in a room."""

import asyncio
import json
from typing import Any

import pytest

from homeserver.core.filters import RoomEventFilter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import Place
from homeserver.services.client_events import ClientEvents
from homeserver.services.clock import now_ms
from homeserver.services.pagination import Pagination
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, StoredEvent
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, PeerRoom, error

BEGINNING = Place(0, -(10**17))


async def page(ours: FederatingServer, room_id: str) -> list[StoredEvent]:
    """All that is shown of a room's history, newest first."""

    async def work(tx: Transaction) -> list[StoredEvent]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        return await stored_events.page(tx, room.room_nid, start=None, backwards=True, limit=1000)

    return await ours.database.read(work)


async def join(ours: FederatingServer, peer: FederationPeer, room: PeerRoom) -> None:
    """Have @bob of ours join."""
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})


@pytest.mark.parametrize("version", ["1", "3", "6", "10", "11", "12"])
async def test_all_of_a_rooms_history(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room = peer.room(version)
    alice = peer.user("alice")
    for number in range(130):
        room.say(alice, f"message {number}")
        if number % 50 == 0:
            room.add("m.room.topic", alice, {"topic": f"topic {number}"}, "")
    written = list(room.events)
    await join(ours, peer, room)
    assert len(await page(ours, room.room_id)) == 1
    rounds = 0
    while await ours.backfill.fill_gap(room.room_id, BEGINNING, 100):
        rounds += 1
    assert rounds == 2
    shown = await page(ours, room.room_id)
    assert [stored.event.event_id for stored in shown][:0:-1] == written
    assert all((stored.position or 0) < 0 for stored in shown[1:])
    # The state at each event is that of its time.
    topic = next(stored for stored in shown if stored.event.content.get("body") == "message 60")
    assert topic.state_before is not None
    root = topic.state_before
    event = await ours.database.read(lambda tx: ours.states.event(tx, root, "m.room.topic"))
    assert event is not None and event.content["topic"] == "topic 50"
    assert not await ours.backfill.fill_gap(room.room_id, BEGINNING, 100)
    # The room as it is now has not been touched.
    now = await ours.state(room.room_id, "m.room.topic")
    assert now is not None and now.content["topic"] == "topic 100"


async def test_the_context_of_an_event_reaches_over_a_gap(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, alice, bob = peer.room("10"), peer.user("alice"), ours.user("bob")
    said = [room.say(alice, f"message {number}").event_id for number in range(20)]
    await join(ours, peer, room)
    joined = await ours.state(room.room_id, "m.room.member", bob)
    assert joined is not None
    reader = Pagination(ours.database, ours.states, ClientEvents(ours.states, now_ms), ours.backfill)

    async def context(limit: int) -> dict[str, Any]:
        return await reader.context(
            Requester(bob, "DEVICE", 1), room.room_id, joined.event_id, limit, RoomEventFilter()
        )

    await context(0)  # nobody asks for what is before it
    assert peer.asked_for("backfill") == []
    found = await context(10)
    texts = [json.loads(bytes(event))["event_id"] for event in found["events_before"]]
    assert texts == said[:-6:-1]
    assert len(peer.asked_for("backfill")) == 1


async def test_only_gaps_that_the_reader_has_come_to(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    room.say(peer.user("alice"), "before")
    await join(ours, peer, room)
    (joined,) = await page(ours, room.room_id)
    later = Place(joined.event.depth + 1, 0)
    assert not await ours.backfill.fill_gap(room.room_id, later, 10)
    assert peer.asked_for("backfill") == []
    assert not await ours.backfill.fill_gap("!unknown:x.test", BEGINNING, 10)


async def test_what_is_wrong_with_history_is_left_out(ours: FederatingServer, peer: FederationPeer) -> None:
    alice, mallory = peer.user("alice"), peer.user("mallory")
    room = peer.room()
    forged = room.say(alice, "forged")
    changed = room.say(alice, "as it was")
    forbidden = room.add("m.room.message", mallory, {"body": "not in the room"})
    last = room.say(alice, "last")
    await join(ours, peer, room)

    def answer(asked: Any) -> Any:
        honest = peer.honest(asked)
        pdus = []
        for pdu in honest["pdus"]:
            if pdu["hashes"] == forged.pdu["hashes"]:
                pdu = {**pdu, "signatures": {}}
            if pdu["hashes"] == changed.pdu["hashes"]:
                pdu = {**pdu, "content": {"body": "as it is now"}}
            pdus.append(pdu)
        return {**honest, "pdus": [*pdus, {"type": "nonsense"}]}

    peer.answers["backfill"] = answer
    assert await ours.backfill.fill_gap(room.room_id, BEGINNING, 100)
    shown = {stored.event.event_id: stored for stored in await page(ours, room.room_id)}
    assert forged.event_id not in shown and forbidden.event_id not in shown
    assert (
        shown[changed.event_id].event.content == {} and shown[last.event_id].event.content["body"] == "last"
    )
    rejected = await ours.stored(forbidden.event_id)
    assert rejected is not None and rejected.status is EventStatus.REJECTED


async def test_redactions_are_applied_to_what_comes_later(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    alice = peer.user("alice")
    room = peer.room("11")
    said = room.say(alice, "taken back")
    await join(ours, peer, room)
    redaction = room.add("m.room.redaction", alice, {"redacts": said.event_id})
    assert await peer.send(ours.server_name, redaction) == {redaction.event_id: None}
    assert await ours.backfill.fill_gap(room.room_id, BEGINNING, 100)
    stored = await ours.stored(said.event_id)
    assert stored is not None and stored.redacted_by == redaction.event_id and stored.event.content == {}


async def test_a_server_that_has_no_history(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    await join(ours, peer, room)
    peer.answers["backfill"] = lambda _: error(404, "M_NOT_FOUND", "no")
    assert not await ours.backfill.fill_gap(room.room_id, BEGINNING, 10)
    assert not await ours.backfill.fill_gap(room.room_id, BEGINNING, 10)
    assert len(peer.asked_for("backfill")) == 1  # it is left alone for a while


async def test_a_server_that_does_not_tell_the_state(ours: FederatingServer, peer: FederationPeer) -> None:
    # Without it nobody can tell who may see these events.
    room = peer.room()
    for number in range(120):
        room.say(peer.user("alice"), f"message {number}")
    await join(ours, peer, room)
    peer.answers["state_ids"] = lambda _: error(403, "M_FORBIDDEN", "no")
    assert not await ours.backfill.fill_gap(room.room_id, BEGINNING, 3)
    assert len(await page(ours, room.room_id)) == 1


async def test_two_readers_at_once(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    for number in range(20):
        room.say(peer.user("alice"), f"message {number}")
    await join(ours, peer, room)
    await asyncio.gather(*(ours.backfill.fill_gap(room.room_id, BEGINNING, 100) for _ in range(3)))
    assert len(await page(ours, room.room_id)) == 25
    assert len(peer.asked_for("backfill")) == 1
