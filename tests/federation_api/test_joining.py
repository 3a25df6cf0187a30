"""Joining rooms of other servers: the asking side."""

import pytest

from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_join_and_talk(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room = peer.room(version)
    room.say(peer.user("alice"), "before")
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {"displayname": "Bob"})
    assert await ours.members(room.room_id) == sorted([peer.user("alice"), ours.user("bob")])
    member = await ours.state(room.room_id, "m.room.member", ours.user("bob"))
    assert member is not None and member.content["displayname"] == "Bob"
    hello = room.say(peer.user("alice"), "hello")
    assert await peer.send(ours.server_name, hello) == {hello.event_id: None}
    stored = await ours.stored(hello.event_id)
    assert stored is not None and stored.event.content["body"] == "hello"
