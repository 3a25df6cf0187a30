"""Events by their time, asked for by other servers and from them."""

from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.requester import Requester
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import NearestEvent, timestamp_to_event
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, PeerRoom, error

START = 1_600_000_000_000


async def test_the_closest_event_for_another_server(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    said = await ours.stored(await ours.say(room_id, ours.user("ours"), "hello"))
    assert said is not None
    at = said.event.origin_server_ts
    await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    found = await timestamp_to_event(peer.client, ours.server_name, room_id, at, "b")
    assert found.origin_server_ts == at
    with pytest.raises(FederationError) as caught:
        await timestamp_to_event(peer.client, ours.server_name, room_id, 0, "b")
    assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")


async def test_a_server_is_not_told_of_what_it_may_not_see(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room_id = await ours.room(history_visibility={"history_visibility": "joined"})
    secret = await ours.stored(await ours.say(room_id, ours.user("ours"), "secret"))
    assert secret is not None
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    at = secret.event.origin_server_ts
    found = await timestamp_to_event(peer.client, ours.server_name, room_id, at, "f")
    assert found.event_id == room.heads[0]


async def test_who_is_not_in_the_room(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    for asked, status in ((room_id, 403), ("!unknown:x.test", 404)):
        with pytest.raises(FederationError) as caught:
            await timestamp_to_event(peer.client, ours.server_name, asked, 0, "f")
        assert caught.value.status == status
    path = f"/_matrix/federation/v1/timestamp_to_event/{room_id}"
    for query in ({"ts": "1"}, {"dir": "f"}, {"ts": "x", "dir": "f"}, {"ts": "1", "dir": "x"}):
        with pytest.raises(FederationError) as caught:
            await peer.client.request(ours.server_name, "GET", path, query=query)
        assert caught.value.status == 400


async def joined(ours: FederatingServer, peer: FederationPeer, count: int = 5) -> tuple[PeerRoom, list[str]]:
    """A room of the peer with messages a second apart, which @bob of ours has joined after them."""
    room = peer.room()
    said = [
        room.say(peer.user("alice"), str(number), origin_server_ts=START + 1000 * number).event_id
        for number in range(count)
    ]
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    return room, said


async def nearest(ours: FederatingServer, room: PeerRoom, timestamp: int, direction: str) -> NearestEvent:
    requester = Requester(ours.user("bob"), "DEVICE", 1)
    return await ours.by_time.nearest(requester, room.room_id, timestamp, backwards=direction == "b")


async def test_an_event_in_a_gap_is_fetched(ours: FederatingServer, peer: FederationPeer) -> None:
    room, said = await joined(ours, peer)
    assert await ours.stored(said[2]) is None
    found = await nearest(ours, room, START + 1500, "f")
    assert found == NearestEvent(said[2], START + 2000)
    stored = await ours.stored(said[2])
    assert stored is not None and (stored.position or 0) < 0 and stored.event.content["body"] == "2"
    asked = peer.asked_for("timestamp_to_event")
    assert [each.query for each in asked] == [{"ts": [str(START + 1500)], "dir": ["f"]}]
    # What comes before it is still missing, what comes after it too: both are asked for again, and fetched.
    assert await nearest(ours, room, START + 1500, "b") == NearestEvent(said[1], START + 1000)
    assert await nearest(ours, room, START + 4200, "b") == NearestEvent(said[4], START + 4000)


async def test_nobody_is_asked_where_nothing_is_missing(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    await ours.membership.join(ours.user("bob"), room_id)
    assert (await nearest(ours, room, START, "f")).origin_server_ts > START
    with pytest.raises(MatrixError):
        await nearest(ours, room, START, "b")
    assert peer.asked_for("timestamp_to_event") == []


async def test_what_is_named_wrongly_is_not_shown(ours: FederatingServer, peer: FederationPeer) -> None:
    room, said = await joined(ours, peer)
    answer: dict[str, Any] = {}
    peer.answers["timestamp_to_event"] = lambda _: answer
    honest = await nearest(ours, room, START + 9000, "f")  # our own join, or what is near it
    for named in (
        {"event_id": said[1], "origin_server_ts": START + 1000},  # on the wrong side
        {"event_id": said[3], "origin_server_ts": honest.origin_server_ts + 5},  # not closer
        {"event_id": "$nothing", "origin_server_ts": START + 2000},  # no such event
        {"event_id": "nonsense", "origin_server_ts": START + 2000},
        {"event_id": said[3], "origin_server_ts": "soon"},
    ):
        answer.clear()
        answer.update(named)
        assert await nearest(ours, room, START + 1500, "f") == honest
    assert [await ours.stored(event_id) for event_id in said] == [None] * len(said)

    # What it says of the time is not what the event says.
    answer.update({"event_id": said[1], "origin_server_ts": START + 2000})
    assert await nearest(ours, room, START + 1500, "f") == honest


async def test_an_event_without_its_signature_is_not_shown(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, said = await joined(ours, peer)

    def forged(asked: Any) -> Any:
        answer = peer.honest(asked)
        return {**answer, "pdus": [{**pdu, "signatures": {}} for pdu in answer["pdus"]]}

    peer.answers["event"] = forged
    assert (await nearest(ours, room, START + 1500, "f")).event_id not in said
    assert await ours.stored(said[2]) is None


async def test_servers_that_do_not_answer(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room, said = await joined(ours, peer)
    peer.answers["timestamp_to_event"] = lambda _: error(404, "M_NOT_FOUND", "no")
    with pytest.raises(MatrixError) as caught:
        await nearest(ours, room, START, "b")
    assert caught.value.errcode == "M_NOT_FOUND"
    async with FederationPeer(authority, number=2) as other:
        await peer.stop()
        other.rooms[room.room_id] = room
        carol = other.user("carol")
        there = await other.join(ours.server_name, room.room_id, carol, "10")
        there.events |= room.events
        there.state_before |= room.state_before
        assert await nearest(ours, room, START + 1500, "f") == NearestEvent(said[2], START + 2000)
