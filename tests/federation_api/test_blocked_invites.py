"""Invites of other servers to users who want none, and by users who are ignored."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.federation.errors import FederationError
from tests.support.client import Client
from tests.support.federation_peer import FederationPeer
from tests.support.whole import V3, WholeServer, sync


async def set_data(client: Client, kind: str, content: Any) -> None:
    (await client.put(f"{V3}/user/{client.user_id}/account_data/{kind}", content)).ok()


async def test_blocked_invites(whole: WholeServer, peer: FederationPeer, alice: Client) -> None:
    room = peer.room("10", join_rules={"join_rule": "invite"})
    await peer.invite(whole.server_name, room, alice.user_id)
    assert set((await sync(alice))["rooms"]["invite"]) == {room.room_id}
    await set_data(alice, "m.invite_permission_config", {"default_action": "block"})
    assert "rooms" not in await sync(alice)
    other = peer.room("12", join_rules={"join_rule": "invite"})
    with pytest.raises(FederationError) as caught:
        await peer.invite(whole.server_name, other, alice.user_id)
    assert (caught.value.status, caught.value.errcode) == (403, "M_INVITE_BLOCKED")
    await set_data(alice, "m.invite_permission_config", {})
    assert set((await sync(alice))["rooms"]["invite"]) == {room.room_id}
    await peer.invite(whole.server_name, other, alice.user_id)
    assert set((await sync(alice))["rooms"]["invite"]) == {room.room_id, other.room_id}


async def test_invites_of_ignored_users(whole: WholeServer, peer: FederationPeer, alice: Client) -> None:
    room = peer.room("10", join_rules={"join_rule": "invite"})
    since = (await sync(alice))["next_batch"]
    await set_data(alice, "m.ignored_user_list", {"ignored_users": {peer.user("alice"): {}}})
    await peer.invite(whole.server_name, room, alice.user_id)
    assert "rooms" not in await sync(alice, since) and "rooms" not in await sync(alice)
    await set_data(alice, "m.ignored_user_list", {"ignored_users": {}})
    assert set((await sync(alice))["rooms"]["invite"]) == {room.room_id}
