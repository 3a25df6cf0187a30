"""The handshakes: what they ask, what they return, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.core.room_versions import rules_for
from homeserver.federation.errors import FederationError
from homeserver.federation.remote import membership
from homeserver.federation.transport import FederationClient
from tests.federation.keys import ROOM, event_by
from tests.federation.remote_support import NAME, USER, A, member, path, refused
from tests.federation.world import Peer

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
RULES = rules_for("10")

TEMPLATE: dict[str, Any] = {
    "room_id": ROOM,
    "sender": USER,
    "state_key": USER,
    "type": "m.room.member",
    "content": {"membership": "join", "displayname": "not mine"},
    "prev_events": ["$a"],
    "auth_events": ["$b", "$c"],
    "depth": 7,
    "origin": "a.example",
    "origin_server_ts": 1,
}


async def test_make_join(client: FederationClient, peer: Peer) -> None:
    peer.answer("GET", path("make_join", ROOM, USER), {"room_version": "10", "event": TEMPLATE})
    template = await membership.make_join(client, NAME, ROOM, USER, ["9", "10"])
    assert template == membership.MembershipTemplate(RULES, ("$a",), ("$b", "$c"), 7, None)
    assert peer.seen[0].target.endswith("/make_join/%21room%3Aa.example/%40me%3Aours.example?ver=9&ver=10")


async def test_make_join_of_a_restricted_room(client: FederationClient, peer: Peer) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@admin:a.example"}
    answer = {"room_version": "10", "event": {**TEMPLATE, "content": content}}
    peer.answer("GET", path("make_join", ROOM, USER), answer)
    template = await membership.make_join(client, NAME, ROOM, USER, ["10"])
    assert template.authorised_via == "@admin:a.example"


async def test_a_template_without_version_is_of_version_1_or_2(client: FederationClient, peer: Peer) -> None:
    event = {**TEMPLATE, "prev_events": [["$a:x", {"sha256": "h"}]], "auth_events": []}
    peer.answer("GET", path("make_join", ROOM, USER), {"event": event})
    template = await membership.make_join(client, NAME, ROOM, USER, ["1", "2"])
    assert template.rules.version == "1"
    assert template.prev_events == (("$a:x", {"sha256": "h"}),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"room_id": "!other:a.example"}, "room_id"),
        ({"sender": "@other:ours.example"}, "sender"),
        ({"state_key": "@other:ours.example"}, "state_key"),
        ({"type": "m.room.create"}, "type"),
        ({"content": {"membership": "ban"}}, "membership"),
        ({"content": "join"}, "content"),
        ({"content": {"membership": "join", "join_authorised_via_users_server": 1}}, "not a user ID"),
        ({"depth": -1}, "depth"),
        ({"depth": True}, "depth"),
        ({"depth": 2**53}, "depth"),
        ({"prev_events": ["x"]}, "prev_events"),
        ({"prev_events": [["$a", {}]]}, "prev_events"),
        ({"prev_events": [f"${n}" for n in range(21)]}, "at most 20"),
        ({"auth_events": None}, "auth_events"),
    ],
)
async def test_templates_are_checked(
    client: FederationClient, peer: Peer, changes: dict[str, Any], reason: str
) -> None:
    """Nothing that another server chooses is signed."""
    answer = {"room_version": "10", "event": {**TEMPLATE, **changes}}
    peer.answer("GET", path("make_join", ROOM, USER), answer)
    await refused(membership.make_join(client, NAME, ROOM, USER, ["10"]), reason)


@pytest.mark.parametrize("version", ["99", "9"])
async def test_a_room_version_that_was_not_offered(
    client: FederationClient, peer: Peer, version: str
) -> None:
    peer.answer("GET", path("make_join", ROOM, USER), {"room_version": version, "event": TEMPLATE})
    await refused(membership.make_join(client, NAME, ROOM, USER, ["10"]), "room version")


async def test_incompatible_room_version_is_passed_on(client: FederationClient, peer: Peer) -> None:
    body = {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": "99"}
    peer.answer("GET", path("make_join", ROOM, USER), body, 400)
    with pytest.raises(FederationError) as caught:
        await membership.make_join(client, NAME, ROOM, USER, ["10"])
    assert caught.value.errcode == "M_INCOMPATIBLE_ROOM_VERSION"
    assert caught.value.body == body


async def test_make_leave_and_make_knock(client: FederationClient, peer: Peer) -> None:
    for state, make in (
        ("leave", membership.make_leave(client, NAME, ROOM, USER)),
        ("knock", membership.make_knock(client, NAME, ROOM, USER, ["10"])),
    ):
        event = {**TEMPLATE, "content": {"membership": state}}
        peer.answer("GET", path(f"make_{state}", ROOM, USER), {"room_version": "10", "event": event})
        assert (await make).depth == 7


def joined(event: Event) -> dict[str, Any]:
    good, other = event_by(A), event_by(A, depth=2)
    return {
        "event": dict(event.pdu),
        "state": [good.pdu, {"type": "nonsense"}],
        "auth_chain": [other.pdu, event_by(A, room_id="!other:a.example").pdu],
    }


async def test_send_join(client: FederationClient, peer: Peer) -> None:
    event = member("join")
    peer.answer("PUT", path("send_join", ROOM, event.event_id, version="v2"), joined(event))
    room = await membership.send_join(client, NAME, event, omit_members=True)
    assert room.event == event or (room.event is not None and room.event.event_id == event.event_id)
    assert [state.event_id for state in room.state.events] == [event_by(A).event_id]
    assert len(room.state.invalid) == 1
    assert len(room.auth_chain.events) == 1
    assert "!other:a.example" in room.auth_chain.invalid[0]
    assert not room.members_omitted
    assert peer.seen[0].body == event.canonical
    assert peer.seen[0].target.endswith("?omit_members=true")


async def test_send_join_with_omitted_members(client: FederationClient, peer: Peer) -> None:
    event = member("join")
    target = path("send_join", ROOM, event.event_id, version="v2")
    answer = {"state": [], "auth_chain": [], "members_omitted": True}
    peer.answer("PUT", target, answer)
    await refused(membership.send_join(client, NAME, event, omit_members=True), "servers_in_room")
    peer.answer("PUT", target, {**answer, "servers_in_room": ["a.example", "b.example"]})
    room = await membership.send_join(client, NAME, event, omit_members=True)
    assert room.members_omitted
    assert room.servers_in_room == ("a.example", "b.example")
    assert room.event is None


async def test_send_join_falls_back_to_v1(client: FederationClient, peer: Peer) -> None:
    event = member("join")
    peer.answer("PUT", path("send_join", ROOM, event.event_id), [200, joined(event)])
    room = await membership.send_join(client, NAME, event)
    assert len(room.state.events) == 1
    assert [seen.target[:23] for seen in peer.seen] == [V2 + "/", V1 + "/"]


async def test_a_refusal_is_no_reason_to_fall_back(client: FederationClient, peer: Peer) -> None:
    event = member("join")
    refusal = {"errcode": "M_FORBIDDEN", "error": "no"}
    peer.answer("PUT", path("send_join", ROOM, event.event_id, version="v2"), refusal, 403)
    with pytest.raises(FederationError) as caught:
        await membership.send_join(client, NAME, event)
    assert caught.value.errcode == "M_FORBIDDEN"
    assert len(peer.seen) == 1


async def test_send_join_must_return_our_event(client: FederationClient, peer: Peer) -> None:
    event = member("join")
    answer = {**joined(event), "event": dict(member("leave").pdu)}
    peer.answer("PUT", path("send_join", ROOM, event.event_id, version="v2"), answer)
    await refused(membership.send_join(client, NAME, event), "it is the event")


async def test_a_large_send_join_is_parsed_and_a_larger_one_refused(
    client: FederationClient, peer: Peer
) -> None:
    event = member("join")
    state = [event_by(A, depth=depth).pdu for depth in range(300)]
    target = path("send_join", ROOM, event.event_id, version="v2")
    peer.answer("PUT", target, {"state": state, "auth_chain": []})
    room = await membership.send_join(client, NAME, event)
    assert len(room.state.events) == 300
    with pytest.raises(FederationError) as caught:
        await membership.send_join(client, NAME, event, max_response_bytes=1000)
    assert caught.value.stage == "limit"


async def test_send_leave(client: FederationClient, peer: Peer) -> None:
    event = member("leave")
    peer.answer("PUT", path("send_leave", ROOM, event.event_id), [200, {}])
    await membership.send_leave(client, NAME, event)
    peer.answer("PUT", path("send_leave", ROOM, event.event_id, version="v2"), {})
    await membership.send_leave(client, NAME, event)
    assert len(peer.seen) == 3


async def test_send_knock(client: FederationClient, peer: Peer) -> None:
    event = member("knock")
    state = [{"type": "m.room.create", "state_key": "", "sender": "@a:a.example", "content": {}}]
    peer.answer("PUT", path("send_knock", ROOM, event.event_id), {"knock_room_state": state})
    assert await membership.send_knock(client, NAME, event) == tuple(state)
    # The knock has happened: one bad entry does not undo it.
    peer.answer("PUT", path("send_knock", ROOM, event.event_id), {"knock_room_state": ["x", *state]})
    assert await membership.send_knock(client, NAME, event) == tuple(state)
    peer.answer("PUT", path("send_knock", ROOM, event.event_id), {"knock_room_state": "x"})
    await refused(membership.send_knock(client, NAME, event), "knock_room_state")
