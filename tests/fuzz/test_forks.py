"""A server that forks a room as often as it can: the room goes on."""

from __future__ import annotations

from urllib.parse import quote

from homeserver.federation.remote.membership import make_join
from homeserver.services.event_store import DUMMY_EVENT
from homeserver.services.room_graph import MANY_ENDS
from tests.support.federation_peer import FederationPeer, until
from tests.support.whole import V3, WholeServer, history, say

FORKS = 45
"""More than an event can have prev events, and fewer than a transaction has PDUs."""


async def test_a_room_with_more_ends_than_an_event_can_follow(
    ours: WholeServer, peer: FederationPeer
) -> None:
    alice = await ours.register("alice")
    room = peer.room("10")
    (await alice.post(f"{V3}/join/{quote(room.room_id)}?server_name={peer.server_name}")).ok()
    end = room.heads[0]
    forks = [
        room.make("org.example", peer.user("alice"), {"n": number}, str(number), after=[end])
        for number in range(FORKS)
    ]
    assert set((await peer.send(ours.server_name, *forks)).values()) == {None}
    path = f"{V3}/rooms/{quote(room.room_id)}"
    template = await make_join(peer.client, ours.server_name, room.room_id, peer.user("zoe"), ["10"])
    assert 1 < len(template.prev_events) <= 20
    (await alice.post(f"{path}/invite", {"user_id": peer.user("bob")})).ok()
    await say(alice, room.room_id, "hello")
    state = (await alice.get(f"{path}/state")).ok()
    assert len([event for event in state if event["type"] == "org.example"]) == FORKS


async def test_where_nobody_here_posts_the_ends_are_joined(ours: WholeServer, peer: FederationPeer) -> None:
    alice = await ours.register("alice")
    room = peer.room("10")
    (await alice.post(f"{V3}/join/{quote(room.room_id)}?server_name={peer.server_name}")).ok()
    end = room.heads[0]
    forks = [
        room.make("m.room.message", peer.user("alice"), {"body": str(number)}, after=[end])
        for number in range(100)
    ]
    for sent in (forks[:50], forks[50:]):
        assert set((await peer.send(ours.server_name, *sent)).values()) == {None}
    left = {fork.event_id for fork in forks}

    def few_are_left() -> bool:
        joining = [pdu for pdu in peer.received() if pdu["type"] == DUMMY_EVENT]
        left.difference_update(*(pdu["prev_events"] for pdu in joining))
        return len(left) <= MANY_ENDS

    # The more ends there are the sooner: within 6 s here, where it may be a minute with eleven.
    await until(few_are_left, seconds=30)
    shown = {event["type"] for event in await history(alice, room.room_id)}
    assert "m.room.message" in shown and DUMMY_EVENT not in shown
