"""The functions of the remote endpoints: what they ask, what they return, what they refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from homeserver.core.canonical_json import decode_json
from homeserver.core.events import make_event
from homeserver.core.room_versions import rules_for
from homeserver.federation.errors import FederationError
from homeserver.federation.remote import (
    events,
    invites,
    membership,
    policy,
    queries,
    rooms,
    transactions,
    users,
)
from homeserver.federation.transport import FederationClient
from tests.federation.keys import ROOM, event_by
from tests.federation.remote_support import NAME, USER, A, member, path, refused
from tests.federation.world import Peer, World

V1 = "/_matrix/federation/v1"
RULES = rules_for("10")


async def test_invite(client: FederationClient, peer: Peer) -> None:
    event = member("invite")
    target = path("invite", ROOM, event.event_id, version="v2")
    peer.answer("PUT", target, {"event": dict(event.pdu)})
    state = [{"type": "m.room.name", "state_key": "", "content": {"name": "é"}, "sender": USER}]
    assert (await invites.invite(client, NAME, event, state)).event_id == event.event_id
    assert decode_json(peer.seen[0].body) == {
        "event": event.pdu,
        "invite_room_state": state,
        "room_version": "10",
    }
    peer.answer("PUT", target, {"event": dict(member("leave").pdu)})
    await refused(invites.invite(client, NAME, event, state), "it is the event")


@pytest.mark.parametrize(("version", "falls_back"), [("1", True), ("2", True), ("3", False), ("10", False)])
async def test_invite_v1(client: FederationClient, peer: Peer, version: str, falls_back: bool) -> None:
    event = member("invite", version)
    peer.answer("PUT", path("invite", ROOM, event.event_id), [200, {"event": dict(event.pdu)}])
    if falls_back:
        signed = await invites.invite(client, NAME, event, [{"type": "m.room.name"}])
        assert signed.event_id == event.event_id
        assert decode_json(peer.seen[1].body)["unsigned"] == {"invite_room_state": [{"type": "m.room.name"}]}
    else:
        with pytest.raises(FederationError) as caught:
            await invites.invite(client, NAME, event, [])
        assert caught.value.unrecognised


async def test_transactions(client: FederationClient, peer: Peer) -> None:
    event = event_by(A)
    body = transactions.transaction_body("ours.example", 5, [event.canonical], [b'{"edu_type":"m.x"}'])
    assert decode_json(body) == {
        "edus": [{"edu_type": "m.x"}],
        "origin": "ours.example",
        "origin_server_ts": 5,
        "pdus": [event.pdu],
    }
    answer = {"pdus": {event.event_id: {}, "$other": {"error": "no"}}}
    peer.answer("PUT", path("send", "t/1"), answer)
    assert await transactions.send_transaction(client, NAME, "t/1", body) == {
        event.event_id: None,
        "$other": "no",
    }
    assert peer.seen[0].body == body
    with pytest.raises(ValueError, match="51 PDUs"):
        transactions.transaction_body("ours.example", 5, [b"{}"] * 51)


async def test_get_event(client: FederationClient, peer: Peer) -> None:
    event, other = event_by(A), event_by(A, depth=2)
    target = path("event", event.event_id)
    peer.answer("GET", target, {"pdus": [event.pdu]})
    assert (await events.get_event(client, NAME, event.event_id, RULES, ROOM)).canonical == event.canonical
    peer.answer("GET", target, {"pdus": [other.pdu]})
    await refused(events.get_event(client, NAME, event.event_id, RULES, ROOM), "it is the event")
    peer.answer("GET", target, {"pdus": []})
    await refused(events.get_event(client, NAME, event.event_id, RULES, ROOM), "0 events")
    peer.answer("GET", target, {"pdus": [event.pdu]})
    await refused(events.get_event(client, NAME, event.event_id, RULES, "!x:a.example"), "room")


async def test_backfill_and_missing_events(client: FederationClient, peer: Peer) -> None:
    event = event_by(A)
    peer.answer("GET", path("backfill", ROOM), {"pdus": [event.pdu, 5]})
    found = await events.backfill(client, NAME, ROOM, RULES, before=["$a", "$b"], limit=100)
    assert [each.event_id for each in found.events] == [event.event_id]
    assert len(found.invalid) == 1
    assert peer.seen[0].target.endswith("?v=%24a&v=%24b&limit=100")
    peer.answer("POST", path("get_missing_events", ROOM), {"events": [event.pdu]})
    found = await events.get_missing_events(client, NAME, ROOM, RULES, earliest=["$a"], latest=["$b"])
    assert len(found.events) == 1
    assert decode_json(peer.seen[1].body) == {
        "earliest_events": ["$a"],
        "latest_events": ["$b"],
        "limit": 10,
        "min_depth": 0,
    }


async def test_state(client: FederationClient, peer: Peer) -> None:
    event, other = event_by(A), event_by(A, depth=2)
    peer.answer("GET", path("state", ROOM), {"pdus": [event.pdu], "auth_chain": [other.pdu]})
    state = await events.get_state(client, NAME, ROOM, "$at", RULES)
    assert [each.event_id for each in state.state.events] == [event.event_id]
    assert [each.event_id for each in state.auth_chain.events] == [other.event_id]
    assert peer.seen[0].target.endswith("?event_id=%24at")
    peer.answer("GET", path("state_ids", ROOM), {"pdu_ids": ["$a"], "auth_chain_ids": ["$b"]})
    assert await events.get_state_ids(client, NAME, ROOM, "$at") == events.RoomStateIDs(("$a",), ("$b",))
    peer.answer("GET", path("state_ids", ROOM), {"pdu_ids": [5], "auth_chain_ids": []})
    await refused(events.get_state_ids(client, NAME, ROOM, "$at"), "pdu_ids")
    peer.answer("GET", path("event_auth", ROOM, "$at"), {"auth_chain": [other.pdu]})
    assert len((await events.get_event_auth(client, NAME, ROOM, "$at", RULES)).events) == 1


async def test_the_create_event_of_room_version_12_belongs_to_its_room(
    client: FederationClient, peer: Peer
) -> None:
    create = make_event(
        rules_for("12"),
        server_name="a.example",
        signing_key=A.signing_key,
        room_id=None,
        type="m.room.create",
        sender="@u:a.example",
        content={"room_version": "12"},
        state_key="",
        prev_events=[],
        auth_events=[],
        depth=1,
        origin_server_ts=1,
    )
    peer.answer("GET", path("event_auth", create.room_id, "$at"), {"auth_chain": [create.pdu]})
    chain = await events.get_event_auth(client, NAME, create.room_id, "$at", rules_for("12"))
    assert [each.room_id for each in chain.events] == [create.room_id]


async def test_timestamp_to_event(client: FederationClient, peer: Peer) -> None:
    target = path("timestamp_to_event", ROOM)
    peer.answer("GET", target, {"event_id": "$a", "origin_server_ts": 9})
    found = await events.timestamp_to_event(client, NAME, ROOM, 7, "b")
    assert found == events.NearestEvent("$a", 9)
    assert peer.seen[0].target.endswith("?ts=7&dir=b")
    peer.answer("GET", target, {"event_id": "a", "origin_server_ts": 9})
    await refused(events.timestamp_to_event(client, NAME, ROOM, 7, "b"), "event_id")


async def test_queries(client: FederationClient, peer: Peer) -> None:
    target = V1 + "/query/directory"
    peer.answer("GET", target, {"room_id": ROOM, "servers": ["a.example", 5, "not valid!"]})
    found = await queries.query_directory(client, NAME, "#é/x:a.example")
    assert found == queries.AliasTarget(ROOM, ("a.example",))
    assert peer.seen[0].target == target + "?room_alias=%23%C3%A9%2Fx%3Aa.example"
    peer.answer("GET", target, {"room_id": "room", "servers": []})
    await refused(queries.query_directory(client, NAME, "#x:a.example"), "room_id")

    target = V1 + "/query/profile"
    peer.answer("GET", target, {"displayname": None, "avatar_url": "mxc://a/b", "m.tz": "Europe/Berlin"})
    profile = await queries.query_profile(client, NAME, "@u:a.example", "displayname")
    assert profile == {"avatar_url": "mxc://a/b", "m.tz": "Europe/Berlin"}
    assert peer.seen[-1].target.endswith("?user_id=%40u%3Aa.example&field=displayname")
    peer.answer("GET", target, {"displayname": ["x"]})
    await refused(queries.query_profile(client, NAME, "@u:a.example"), "displayname")


async def test_openid(client: FederationClient, peer: Peer) -> None:
    target = V1 + "/openid/userinfo"
    peer.answer("GET", target, {"sub": f"@u:{NAME}"})
    assert await queries.openid_userinfo(client, NAME, "t&ken") == f"@u:{NAME}"
    assert peer.seen[0].authorization == ()
    peer.answer("GET", target, {"sub": "@u:other.example"})
    await refused(queries.openid_userinfo(client, NAME, "token"), "sub is not a user of")


ROOM_SUMMARY = {"room_id": ROOM, "num_joined_members": 1, "world_readable": True, "guest_can_join": False}


async def test_public_rooms(client: FederationClient, peer: Peer) -> None:
    answer = {"chunk": [ROOM_SUMMARY, {"room_id": ROOM}, {**ROOM_SUMMARY, "name": 5}], "next_batch": "n"}
    peer.answer("POST", V1 + "/publicRooms", answer)
    page = await rooms.public_rooms(
        client, NAME, limit=5, search_filter={"generic_search_term": "x"}, include_all_networks=True
    )
    assert page == rooms.PublicRooms((ROOM_SUMMARY,), "n", None, None)
    assert decode_json(peer.seen[0].body) == {
        "limit": 5,
        "filter": {"generic_search_term": "x"},
        "include_all_networks": True,
    }


async def test_hierarchy(client: FederationClient, peer: Peer) -> None:
    child = {"type": "m.space.child", "state_key": "!x:y", "sender": "@u:a.example", "content": {}}
    space = {**ROOM_SUMMARY, "children_state": [{**child, "origin_server_ts": 1}, child]}
    answer = {"room": space, "children": [ROOM_SUMMARY], "inaccessible_children": ["!z:a.example", 7]}
    peer.answer("GET", path("hierarchy", ROOM), answer)
    found = await rooms.get_hierarchy(client, NAME, ROOM, suggested_only=True)
    assert found.room["children_state"] == [{**child, "origin_server_ts": 1}]
    assert found.children == (ROOM_SUMMARY,)
    assert found.inaccessible_children == ("!z:a.example",)
    peer.answer("GET", path("hierarchy", ROOM), {**answer, "room": {**space, "room_id": "!z:a.example"}})
    await refused(rooms.get_hierarchy(client, NAME, ROOM), "not the summary")


BOB = f"@bob:{NAME}"


def device(name: str, user_id: str = BOB) -> dict[str, Any]:
    return {"user_id": user_id, "device_id": name, "keys": {}, "algorithms": [], "signatures": {}}


async def test_user_devices(client: FederationClient, peer: Peer) -> None:
    answer = {
        "user_id": BOB,
        "stream_id": 5,
        "devices": [
            {"device_id": "D", "keys": device("D"), "device_display_name": "phone"},
            {"device_id": "E", "keys": device("D")},
            {"device_id": "F"},
        ],
        "master_key": {"user_id": BOB, "usage": ["master"], "keys": {}},
    }
    target = path("user", "devices", BOB)
    peer.answer("GET", target, answer)
    found = await users.get_user_devices(client, NAME, BOB)
    assert [each["device_id"] for each in found.devices] == ["D"]
    assert found.stream_id == 5
    assert found.master_key == answer["master_key"]
    assert found.self_signing_key is None
    peer.answer("GET", target, {**answer, "user_id": "@eve:a.example"})
    await refused(users.get_user_devices(client, NAME, BOB), "not of @bob")
    peer.answer("GET", target, {**answer, "master_key": {"user_id": "@eve:a.example", "keys": {}}})
    await refused(users.get_user_devices(client, NAME, BOB), "master_key")


async def test_user_keys(client: FederationClient, peer: Peer) -> None:
    eve = f"@eve:{NAME}"
    answer = {
        "device_keys": {BOB: {"D": device("D"), "E": device("D")}, eve: {"D": device("D", eve)}},
        "master_keys": {BOB: {"user_id": eve}, eve: {"user_id": eve}},
        "self_signing_keys": {BOB: {"user_id": BOB}},
    }
    peer.answer("POST", V1 + "/user/keys/query", answer)
    found = await users.query_user_keys(client, NAME, {BOB: []})
    assert found == users.QueriedKeys({BOB: {"D": device("D")}}, {}, {BOB: {"user_id": BOB}})
    peer.answer("POST", V1 + "/user/keys/claim", {"one_time_keys": {BOB: {"D": {"k": {}}, "X": {}}, eve: {}}})
    claimed = await users.claim_user_keys(client, NAME, {BOB: {"D": "signed_curve25519", "E": "x"}})
    assert claimed == {BOB: {"D": {"k": {}}}}


async def test_the_policy_server(client: FederationClient, peer: Peer) -> None:
    event = event_by(A)
    peer.answer("POST", "/_matrix/policy/v1/sign", {NAME: {"ed25519:policy_server": "sig"}})
    assert await policy.ask_policy_server_to_sign(client, NAME, event) == "sig"
    peer.answer("POST", "/_matrix/policy/v1/sign", {})
    await refused(policy.ask_policy_server_to_sign(client, NAME, event), NAME)


async def test_third_party_invites(client: FederationClient, peer: Peer) -> None:
    target = path("exchange_third_party_invite", ROOM)
    peer.answer("PUT", target, {})
    await invites.exchange_third_party_invite(client, NAME, ROOM, {"type": "m.room.member"})
    assert decode_json(peer.seen[0].body) == {"type": "m.room.member"}


CALLS: list[Callable[[FederationClient], Awaitable[object]]] = [
    lambda client: membership.make_join(client, NAME, ROOM, USER, ["10"]),
    lambda client: membership.send_join(client, NAME, member("join")),
    lambda client: membership.send_leave(client, NAME, member("leave")),
    lambda client: membership.send_knock(client, NAME, member("knock")),
    lambda client: invites.invite(client, NAME, member("invite"), []),
    lambda client: transactions.send_transaction(client, NAME, "1", b"{}"),
    lambda client: events.get_event(client, NAME, "$a", RULES, ROOM),
    lambda client: events.backfill(client, NAME, ROOM, RULES, before=["$a"], limit=1),
    lambda client: events.get_missing_events(client, NAME, ROOM, RULES, earliest=[], latest=[]),
    lambda client: events.get_state(client, NAME, ROOM, "$a", RULES),
    lambda client: events.get_state_ids(client, NAME, ROOM, "$a"),
    lambda client: events.get_event_auth(client, NAME, ROOM, "$a", RULES),
    lambda client: events.timestamp_to_event(client, NAME, ROOM, 1, "f"),
    lambda client: queries.query_directory(client, NAME, "#a:b"),
    lambda client: queries.query_profile(client, NAME, BOB),
    lambda client: queries.get_version(client, NAME),
    lambda client: rooms.public_rooms(client, NAME),
    lambda client: rooms.get_hierarchy(client, NAME, ROOM),
    lambda client: users.get_user_devices(client, NAME, BOB),
    lambda client: users.query_user_keys(client, NAME, {BOB: []}),
    lambda client: users.claim_user_keys(client, NAME, {BOB: {}}),
    lambda client: policy.ask_policy_server_to_sign(client, NAME, event_by(A)),
]


@pytest.mark.parametrize("value", [None, 5, "x", [], [200], [200, 5], True])
async def test_no_answer_of_another_type_is_accepted(
    world: World, client: FederationClient, peer: Peer, value: object
) -> None:
    async def always(_: web.Request) -> web.Response:
        return web.json_response(value)

    peer.everything = always
    for call in CALLS:
        with pytest.raises(FederationError) as caught:
            await call(client)
        assert caught.value.stage == "answer"
