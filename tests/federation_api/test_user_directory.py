"""Users of other servers are found by what they call themselves in rooms."""

from __future__ import annotations

from typing import Any

from tests.support.client import Client
from tests.support.federation_peer import FederationPeer
from tests.support.whole import V3, WholeServer, create_room, membership


async def found(client: Client, term: str) -> Any:
    return (await client.post(f"{V3}/user_directory/search", {"search_term": term})).ok()["results"]


async def test_users_of_other_servers(whole: WholeServer, peer: FederationPeer, alice: Client) -> None:
    room = peer.room("10")
    zoe, quiet = peer.user("zoe"), peer.user("quiet")
    content = {"membership": "join", "displayname": "Zoë Zufall", "avatar_url": "mxc://peer/zoe"}
    room.add("m.room.member", zoe, content, zoe)
    odd: Any = {"membership": "join", "displayname": ["Zoe"], "avatar_url": "http://x"}
    room.add("m.room.member", quiet, odd, quiet)
    (await alice.post(f"{V3}/join/{room.room_id}?via={peer.server_name}")).ok()
    assert await found(alice, "zoe") == [
        {"user_id": zoe, "display_name": "Zoë Zufall", "avatar_url": "mxc://peer/zoe"}
    ]
    assert await found(alice, "quiet") == [{"user_id": quiet}]
    bob = await whole.register("bob")
    assert [each["user_id"] for each in await found(bob, "zufall")] == [zoe], "the room is public"
    renamed = room.add("m.room.member", zoe, {"membership": "join", "displayname": "Zora"}, zoe)
    assert await peer.send(whole.server_name, renamed) == {renamed.event_id: None}
    assert await found(alice, "zufall") == []
    assert await found(alice, "zora") == [{"user_id": zoe, "display_name": "Zora"}]
    # Of a room that we have left we know nothing.
    (await membership(alice, room.room_id, "leave")).ok()
    assert await found(bob, "zora") == [] and await found(alice, "zora") == []
    await create_room(alice)
    assert [each["user_id"] for each in await found(bob, "alice")] == [alice.user_id]
