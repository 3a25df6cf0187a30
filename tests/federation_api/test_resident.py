"""Letting users of other servers into our rooms: the resident side of joins."""

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import make_join, send_join
from homeserver.services.timeline import Draft
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, until

RESTRICTED = {"join_rule": "restricted"}


async def refused(
    peer: FederationPeer, ours: FederatingServer, room_id: str, user_id: str, *versions: str
) -> FederationError:
    """How make_join is refused."""
    with pytest.raises(FederationError) as caught:
        await make_join(peer.client, ours.server_name, room_id, user_id, versions or ("10",))
    return caught.value


async def put_join(
    peer: FederationPeer, ours: FederatingServer, event: Event, pdu: Mapping[str, Any]
) -> FederationError:
    """How send_join is refused, with anything as the event."""
    with pytest.raises(FederationError) as caught:
        await peer.client.request(
            ours.server_name,
            "PUT",
            f"/_matrix/federation/v2/send_join/{event.room_id}/{event.event_id}",
            body=pdu,
        )
    return caught.value


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_join_and_talk(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room_id = await ours.room(version)
    before = await ours.say(room_id, ours.user("ours"), "before")
    alice = peer.user("alice")
    room = await peer.join(ours.server_name, room_id, alice, version)
    assert await ours.members(room_id) == sorted([alice, ours.user("ours")])
    assert set(room.state) == {
        ("m.room.create", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", alice),
        ("m.room.member", ours.user("ours")),
    }
    (head,) = room.heads
    assert room.events[head].prev_event_ids == (before,)
    assert set(room.events[head].signatures) == {ours.server_name, peer.server_name}
    said = await ours.say(room_id, ours.user("ours"), "welcome")
    await until(lambda: said in room.events)
    hello = room.say(alice, "hello")
    assert await peer.send(ours.server_name, hello) == {hello.event_id: None}


async def test_the_join_is_sent_to_the_other_servers(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room_id = await ours.room()
    room = await peer.join(ours.server_name, room_id, peer.user("alice"), "10")
    async with FederationPeer(authority, number=2) as third:
        await third.join(ours.server_name, room_id, third.user("carol"), "10")
        await until(lambda: len(room.events) == 6)
        assert third.received() == []
    assert [pdu["sender"] for pdu in peer.received()] == [third.user("carol")]


async def test_the_older_form_of_send_join(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room("1")
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), "1")
    path = f"/_matrix/federation/v1/send_join/{room_id}/{event.event_id}"
    status, answer = await peer.client.request(ours.server_name, "PUT", path, body=event.canonical)
    assert status == 200 and len(answer["state"]) == 4 and len(answer["auth_chain"]) >= 3


async def test_a_complete_answer_though_members_may_be_left_out(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room_id = await ours.room()
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), "10")
    joined = await send_join(peer.client, ours.server_name, event, omit_members=True)
    assert not joined.members_omitted
    assert [each.type for each in joined.state.events].count("m.room.member") == 1


async def test_make_join_refusals(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room("10")
    alice = peer.user("alice")
    incompatible = await refused(peer, ours, room_id, alice, "1", "9")
    assert incompatible.status == 400 and incompatible.errcode == "M_INCOMPATIBLE_ROOM_VERSION"
    assert incompatible.body is not None and incompatible.body["room_version"] == "10"
    assert (await refused(peer, ours, "!unknown:x.test", alice)).status == 404
    assert (await refused(peer, ours, room_id, "@alice:elsewhere.test")).status == 403
    assert (await refused(peer, ours, room_id, "not a user")).status == 403
    assert (await refused(peer, ours, "not a room", alice)).status == 400
    private = await ours.room("10", join_rules={"join_rule": "invite"})
    closed = await refused(peer, ours, private, alice)
    assert closed.status == 403 and closed.errcode == "M_FORBIDDEN"
    denied = await ours.room("10", server_acl={"allow": ["*"], "deny": ["127.*"]})
    assert "ACL" in (await refused(peer, ours, denied, alice)).reason


async def test_a_room_that_we_have_left(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room("10")
    user = ours.user("ours")
    await ours.timeline.send(room_id, Draft(user, "m.room.member", {"membership": "leave"}, user))
    assert (await refused(peer, ours, room_id, peer.user("alice"))).status == 404


CHANGES: dict[str, dict[str, Any]] = {
    "another type": {"type": "m.room.topic"},
    "another membership": {"content": {"membership": "leave"}},
    "another sender": {"sender": "@alice:elsewhere.test", "state_key": "@alice:elsewhere.test"},
    "another state key": {"state_key": "@bob:elsewhere.test"},
    "another room": {"room_id": "!other:elsewhere.test"},
    "no signature": {"signatures": {}},
    "another hash": {"hashes": {"sha256": "x" * 43}},
    "no depth": {"depth": None},
    "too large": {"content": {"membership": "join", "x": "x" * 70_000}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("version", ["1", "10"])
async def test_events_that_are_no_join(
    ours: FederatingServer, peer: FederationPeer, version: str, changes: dict[str, Any]
) -> None:
    room_id = await ours.room(version)
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), version)
    pdu = {name: value for name, value in {**event.pdu, **changes}.items() if value is not None}
    problem = await put_join(peer, ours, event, pdu)
    assert problem.stage == "request" or problem.errcode in ("M_INVALID_PARAM", "M_BAD_JSON")
    assert await ours.members(room_id) == [ours.user("ours")]
    assert await ours.stored(event.event_id) is None


async def test_a_changed_content_is_not_taken_redacted(ours: FederatingServer, peer: FederationPeer) -> None:
    # For other events a wrong hash means that we have a redacted copy; whoever joins here has the whole event.
    room_id = await ours.room()
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), "10")
    pdu = {**event.pdu, "content": {"membership": "join", "displayname": "changed"}}
    assert "hash" in (await put_join(peer, ours, event, pdu)).reason


async def test_another_event_id(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), "10")
    path = f"/_matrix/federation/v2/send_join/{room_id}/$another"
    with pytest.raises(FederationError) as caught:
        await peer.client.request(ours.server_name, "PUT", path, body=event.pdu)
    assert caught.value.errcode == "M_INVALID_PARAM"


async def test_a_join_that_is_not_allowed_any_more(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    alice, creator = peer.user("alice"), ours.user("ours")
    event = await peer.join_event(ours.server_name, room_id, alice, "10")
    await ours.timeline.send(room_id, Draft(creator, "m.room.member", {"membership": "ban"}, alice))
    problem = await put_join(peer, ours, event, event.pdu)
    assert problem.status == 403
    assert alice not in await ours.members(room_id)
    assert (await put_join(peer, ours, event, event.pdu)).status == 403


async def test_a_join_after_events_that_we_do_not_know(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room()
    event = await peer.join_event(ours.server_name, room_id, peer.user("alice"), "10")
    unknown = {**event.pdu, "prev_events": ["$" + "a" * 43]}
    assert (await put_join(peer, ours, event, unknown)).errcode == "M_INVALID_PARAM"


async def restricted_room(ours: FederatingServer, *conditions: str, **state: Any) -> str:
    """A room that the members of other rooms may join."""
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in conditions]
    return await ours.room("10", join_rules={**RESTRICTED, "allow": allow}, **state)


async def test_a_restricted_room_lets_in_who_meets_a_condition(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    club = await ours.room("10")
    room_id = await restricted_room(ours, "!unknown:x.test", club)
    alice = peer.user("alice")
    await peer.join(ours.server_name, club, alice, "10")
    room = await peer.join(ours.server_name, room_id, alice, "10")
    member = room.events[room.heads[0]]
    assert member.content["join_authorised_via_users_server"] == ours.user("ours")
    assert alice in await ours.members(room_id)


async def test_a_restricted_room_refuses_whom_no_condition_lets_in(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    club = await ours.room("10")
    problem = await refused(peer, ours, await restricted_room(ours, club), peer.user("alice"))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    nobody = await refused(peer, ours, await restricted_room(ours), peer.user("alice"))
    assert (nobody.status, nobody.errcode) == (403, "M_FORBIDDEN")


async def test_a_restricted_room_whose_conditions_we_cannot_check(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    club = await ours.room("10")
    room_id = await restricted_room(ours, club, "!unknown:x.test")
    problem = await refused(peer, ours, room_id, peer.user("alice"))
    assert (problem.status, problem.errcode) == (400, "M_UNABLE_TO_AUTHORISE_JOIN")


async def test_a_restricted_room_in_which_nobody_of_ours_may_invite(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    club = await ours.room("10")
    alice = peer.user("alice")
    await peer.join(ours.server_name, club, alice, "10")
    room_id = await restricted_room(ours, club)
    creator = ours.user("ours")
    levels = {"users": {creator: 50}, "invite": 100}
    await ours.timeline.send(room_id, Draft(creator, "m.room.power_levels", levels, ""))
    problem = await refused(peer, ours, room_id, alice)
    assert (problem.status, problem.errcode) == (400, "M_UNABLE_TO_GRANT_JOIN")


async def test_a_claim_that_we_let_somebody_in(ours: FederatingServer, peer: FederationPeer) -> None:
    club = await ours.room("10")
    room_id = await restricted_room(ours, club)
    alice = peer.user("alice")
    mirror = peer.room("10")
    creator = ours.user("ours")
    names = [
        ("m.room.create", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", creator),
    ]
    events = [await ours.state(room_id, *name) for name in names]
    mirror.room_id = room_id
    mirror.events = {event.event_id: event for event in events if event}
    mirror.state_before = {event_id: {} for event_id in mirror.events}
    mirror.heads = [event.event_id for event in events if event]
    content = {"membership": "join", "join_authorised_via_users_server": creator}
    event = mirror.make("m.room.member", alice, content, alice)
    problem = await put_join(peer, ours, event, event.pdu)
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    assert await ours.stored(event.event_id) is None
