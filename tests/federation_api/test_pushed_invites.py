"""Invites of other servers notify, whether or not we are in the room."""

from __future__ import annotations

from typing import Any

from tests.support.client import Client
from tests.support.federation_peer import FederationPeer
from tests.support.push_gateway import PushGateway
from tests.support.whole import V3, WholeServer, membership

INVITE_ONLY = {"join_rule": "invite"}


async def set_pusher(client: Client, gateway: PushGateway) -> None:
    (await client.post(f"{V3}/pushers/set", gateway.pusher())).ok()


async def listed(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"{V3}/notifications")).ok()["notifications"]
    return found


async def test_an_invite_to_a_room_that_we_are_not_in(
    gateway: PushGateway, whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    await set_pusher(alice, gateway)
    room = peer.room("10", join_rules=INVITE_ONLY)
    room.add("m.room.name", peer.user("alice"), {"name": "Private"}, "")
    event = await peer.invite(whole.server_name, room, alice.user_id)
    (told,) = await gateway.until(1)
    assert (told["event_id"], told["room_id"], told["sender"]) == (event.event_id, room.room_id, event.sender)
    assert (told["room_name"], told["user_is_target"], told["counts"]) == ("Private", True, {"unread": 1})
    (shown,) = await listed(alice)
    assert (shown["room_id"], shown["read"]) == (room.room_id, False)
    assert shown["actions"] == ["notify", {"set_tweak": "sound", "value": "default"}]
    assert shown["event"]["event_id"] == event.event_id and "room_id" not in shown["event"]

    (await membership(alice, room.room_id, "leave")).ok()
    assert (await gateway.until(2))[1]["counts"] == {"unread": 0}
    assert await listed(alice) == []


async def test_an_invite_of_somebody_who_is_ignored(
    gateway: PushGateway, whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    await set_pusher(alice, gateway)
    ignored = {"ignored_users": {peer.user("alice"): {}}}
    (await alice.put(f"{V3}/user/{alice.user_id}/account_data/m.ignored_user_list", ignored)).ok()
    await peer.invite(whole.server_name, peer.room("10", join_rules=INVITE_ONLY), alice.user_id)
    (await alice.put(f"{V3}/user/{alice.user_id}/account_data/m.ignored_user_list", {})).ok()
    heard = await peer.invite(whole.server_name, peer.room("10", join_rules=INVITE_ONLY), alice.user_id)
    assert [each["event_id"] for each in await gateway.until(1)] == [heard.event_id]


async def test_an_invite_to_a_room_that_we_are_in_notifies_once(
    gateway: PushGateway, whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    bob = await whole.register("bob")
    room = peer.room("10")
    (await alice.post(f"{V3}/join/{room.room_id}?server_name={peer.server_name}")).ok()
    await set_pusher(bob, gateway)
    event = await peer.invite(whole.server_name, room, bob.user_id)
    room.put(event)
    await gateway.until(1)
    assert await peer.send(whole.server_name, event) == {event.event_id: None}
    assert [each["event"]["event_id"] for each in await listed(bob)] == [event.event_id]
    (await membership(bob, room.room_id, "join")).ok()
    told = await gateway.until(2)
    assert [each.get("event_id") for each in told] == [event.event_id, None]
    assert told[1]["counts"] == {"unread": 0}
    assert [each["read"] for each in await listed(bob)] == [True]


async def test_messages_of_other_servers_are_pushed(
    gateway: PushGateway, whole: WholeServer, peer: FederationPeer, alice: Client
) -> None:
    room = peer.room("10")
    before = room.say(peer.user("alice"), "before")
    (await alice.post(f"{V3}/join/{room.room_id}?server_name={peer.server_name}")).ok()
    await set_pusher(alice, gateway)
    said = room.say(peer.user("alice"), "hello")
    await peer.send(whole.server_name, said)
    (told,) = await gateway.until(1)
    assert (told["event_id"], told["counts"]) == (said.event_id, {"unread": 1})
    assert before.event_id not in [each["event"]["event_id"] for each in await listed(alice)]
