"""Knocking: our users on rooms of other servers, and users of other servers on ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import make_knock, make_leave, send_knock, send_leave
from homeserver.services.timeline import Draft
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, error, until

KNOCK = {"join_rule": "knock"}
VERSIONS = pytest.mark.parametrize("version", ["7", "10", "11", "12"])


async def section(ours: FederatingServer, user_id: str, name: str, room_id: str, **sync: Any) -> Any:
    """What a section of /sync says of a room; None when it is not in it."""
    answer = await ours.sync(user_id, **sync)
    return answer.get("rooms", {}).get(name, {}).get(room_id)


async def failure(ours: FederatingServer, room_id: str, *via: str) -> MatrixError:
    """How a knock fails."""
    with pytest.raises(MatrixError) as caught:
        await ours.membership.knock(ours.user("bob"), room_id, via)
    return caught.value


def membership_in(room: PeerRoom, user_id: str) -> Event:
    """The user's member event."""
    return room.events[room.state["m.room.member", user_id]]


# Our users


@VERSIONS
async def test_a_knock_is_shown_and_answered(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob = peer.room(version, join_rules=KNOCK), await ours.account("bob")
    room.add("m.room.name", peer.user("alice"), {"name": "Club"}, "")
    since = (await ours.sync(bob))["next_batch"]
    waiting = asyncio.create_task(section(ours, bob, "knock", room.room_id, since=since, timeout_ms=20_000))
    assert await ours.membership.knock(bob, room.room_id, [peer.server_name], "please") == room.room_id
    shown = (await waiting)["knock_state"]["events"]
    assert all(set(each) == {"type", "state_key", "sender", "content"} for each in shown)
    told = {(each["type"], each["state_key"]): each["content"] for each in shown}
    assert told["m.room.name", ""] == {"name": "Club"} and ("m.room.create", "") in told
    assert told["m.room.member", bob] == {"membership": "knock", "reason": "please"}
    assert membership_in(room, bob).content == {"membership": "knock", "reason": "please"}

    since = (await ours.sync(bob))["next_batch"]
    await peer.invite(ours.server_name, room, bob)
    assert set((await ours.sync(bob, since))["rooms"]) == {"invite"}
    await ours.membership.join(bob, room.room_id)
    assert set((await ours.sync(bob))["rooms"]) == {"join"}


async def test_a_knock_by_alias(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = peer.room(join_rules=KNOCK), await ours.account("bob")
    ours.aliases[f"#club:{ours.server_name}"] = room.room_id
    with pytest.raises(
        MatrixError
    ) as caught:  # the alias names no server but ours, and the room's ID is all that is left
        await ours.membership.knock(bob, "#nothing:" + ours.server_name)
    assert caught.value.errcode == "M_NOT_FOUND"
    assert await ours.membership.knock(bob, f"#club:{ours.server_name}") == room.room_id
    assert await section(ours, bob, "knock", room.room_id) is not None


@VERSIONS
async def test_a_knock_is_taken_back(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room, bob = peer.room(version, join_rules=KNOCK), await ours.account("bob")
    await ours.membership.knock(bob, room.room_id, [peer.server_name])
    since = (await ours.sync(bob))["next_batch"]
    await ours.membership.leave(bob, room.room_id)
    assert membership_in(room, bob).membership == "leave"
    assert await section(ours, bob, "leave", room.room_id, since=since) is not None
    assert "rooms" not in await ours.sync(bob)
    await ours.membership.knock(bob, room.room_id)  # the server is known now
    assert await section(ours, bob, "knock", room.room_id) is not None


@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_a_knock_is_refused(ours: FederatingServer, peer: FederationPeer, membership: str) -> None:
    room, bob = peer.room(join_rules=KNOCK), await ours.account("bob")
    await ours.membership.knock(bob, room.room_id, [peer.server_name])
    since = (await ours.sync(bob))["next_batch"]
    answer = room.add("m.room.member", peer.user("alice"), {"membership": membership, "reason": "full"}, bob)
    assert await peer.send(ours.server_name, answer) == {answer.event_id: None}
    told = await section(ours, bob, "leave", room.room_id, since=since)
    assert told["timeline"]["events"][0]["content"] == {"membership": membership, "reason": "full"}
    assert "rooms" not in await ours.sync(bob)


async def test_only_versions_with_knocks_are_offered(ours: FederatingServer, peer: FederationPeer) -> None:
    room, _ = peer.room(join_rules=KNOCK), await ours.account("bob")
    await ours.membership.knock(ours.user("bob"), room.room_id, [peer.server_name])
    (asked,) = peer.asked_for("make_knock")
    assert asked.query["ver"] == [version for version in ROOM_VERSIONS if int(version) >= 7]


async def test_servers_are_tried_in_turn(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room = peer.room(join_rules=KNOCK)
    async with FederationPeer(authority, number=2) as stranger:
        await ours.membership.knock(
            ours.user("bob"), room.room_id, ["127.87.0.0:1", stranger.server_name, peer.server_name]
        )
        assert [asked.endpoint for asked in stranger.asked] == ["make_knock"]
    assert membership_in(room, ours.user("bob")).membership == "knock"


async def test_refusals_are_passed_on(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    peer.answers["make_knock"] = lambda _: error(403, "M_FORBIDDEN", "Nobody knocks here")
    problem = await failure(ours, room.room_id, peer.server_name)
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN") and "Nobody knocks" in problem.message
    peer.answers["make_knock"] = lambda _: error(404, "M_NOT_FOUND", "What room?")
    assert (await failure(ours, room.room_id, peer.server_name)).status == 404
    peer.answers["make_knock"] = lambda _: error(500, "M_UNKNOWN", "Oh no")
    assert (await failure(ours, room.room_id, peer.server_name)).status == 502
    assert (await failure(ours, "!" + "A" * 43)).errcode == "M_NOT_FOUND"


async def test_a_template_that_asks_to_sign_something_else(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room = peer.room(join_rules=KNOCK)

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        honest["event"]["content"]["membership"] = "join"
        return honest

    peer.answers["make_knock"] = answer
    problem = await failure(ours, room.room_id, peer.server_name)
    assert problem.status == 502 and "make_knock" in problem.message
    assert peer.asked_for("send_knock") == []


@pytest.mark.parametrize(("version", "shown"), [("10", ["m.room.create", "m.room.topic"]), ("12", [])])
async def test_what_is_told_of_the_room_is_checked(
    ours: FederatingServer, peer: FederationPeer, version: str, shown: list[str]
) -> None:
    room, bob, alice = peer.room(version, join_rules=KNOCK), ours.user("bob"), peer.user("alice")
    create = {**room.told()[0]}
    if version == "12":
        create["signatures"] = {}
    topic = {"type": "m.room.topic", "state_key": "", "sender": alice, "content": {"topic": "t"}}
    name = room.make("m.room.name", alice, {"name": "forged"}, "").pdu
    told = [create, topic, {**name, "signatures": {}}, 7]
    peer.answers["send_knock"] = lambda asked: peer.honest(asked) | {"knock_room_state": told}
    await ours.membership.knock(bob, room.room_id, [peer.server_name])
    events = (await section(ours, bob, "knock", room.room_id))["knock_state"]["events"]
    assert [each["type"] for each in events] == [*shown, "m.room.member"]


async def test_an_answer_that_is_faster_than_the_knock(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = peer.room(join_rules=KNOCK), await ours.account("bob")

    async def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        await peer.invite(ours.server_name, room, bob)
        return honest

    peer.answers["send_knock"] = answer
    await ours.membership.knock(bob, room.room_id, [peer.server_name])
    assert set((await ours.sync(bob))["rooms"]) == {"invite"}


async def test_a_knock_on_a_room_that_we_are_in(ours: FederatingServer) -> None:
    room_id, bob = await ours.room("10", join_rules=KNOCK), await ours.account("bob")
    await ours.membership.knock(bob, room_id, reason="please")
    told = (await section(ours, bob, "knock", room_id))["knock_state"]["events"]
    assert told[0]["type"] == "m.room.create" and told[-1]["content"]["reason"] == "please"
    await ours.membership.leave(bob, room_id)
    assert "rooms" not in await ours.sync(bob)
    await ours.membership.knock(bob, room_id)
    await ours.membership.invite(ours.user("ours"), room_id, bob)
    await ours.membership.join(bob, room_id)
    assert bob in await ours.members(room_id)
    with pytest.raises(MatrixError) as caught:
        await ours.membership.knock(bob, room_id)
    assert caught.value.errcode == "M_FORBIDDEN"


@pytest.mark.parametrize("version", ["1", "6", "7"])
async def test_rooms_that_take_no_knocks(ours: FederatingServer, version: str) -> None:
    rule = "invite" if version == "7" else "knock"  # which is no rule yet
    room_id = await ours.room(version, join_rules={"join_rule": rule})
    problem = await failure(ours, room_id)
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")


# Users of other servers


async def knocks(peer: FederationPeer, ours: FederatingServer, room_id: str, version: str) -> Event:
    """@bob of the peer knocks on a room of ours."""
    bob = peer.user("bob")
    template = await make_knock(peer.client, ours.server_name, room_id, bob, [version])
    event = peer.member_event(template, room_id, bob, "knock")
    told = await send_knock(peer.client, ours.server_name, event)
    assert [each["type"] for each in told] == ["m.room.create", "m.room.name", "m.room.join_rules"]
    assert all(each["signatures"] for each in told)
    return event


@VERSIONS
async def test_others_knock_and_are_let_in(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room_id = await ours.room(version, join_rules=KNOCK, name={"name": "Ours"})
    host, bob = ours.user("ours"), peer.user("bob")
    since = (await ours.sync(host))["next_batch"]
    event = await knocks(peer, ours, room_id, version)
    shown = (await section(ours, host, "join", room_id, since=since))["timeline"]["events"]
    assert len(shown) == 1 and event.event_id.encode() in bytes(shown[0])
    await ours.membership.invite(host, room_id, bob)
    (asked,) = peer.asked_for("invite")
    assert asked.body["invite_room_state"][0]["type"] == "m.room.create"
    await peer.join(ours.server_name, room_id, bob, version)
    assert bob in await ours.members(room_id)


async def test_others_knock_and_are_refused(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id = await ours.room("10", join_rules=KNOCK, name={"name": "Ours"})
    event = await knocks(peer, ours, room_id, "10")
    await ours.membership.kick(ours.user("ours"), room_id, peer.user("bob"), "full")
    await until(peer.received)  # though nobody of that server is in the room
    (answer,) = peer.received()
    assert answer["content"] == {"membership": "leave", "reason": "full"}
    assert event.event_id in answer["auth_events"]


async def test_others_take_their_knocks_back(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob = await ours.room("10", join_rules=KNOCK, name={"name": "Ours"}), peer.user("bob")
    await knocks(peer, ours, room_id, "10")
    template = await make_leave(peer.client, ours.server_name, room_id, bob)
    await send_leave(peer.client, ours.server_name, peer.member_event(template, room_id, bob, "leave"))
    member = await ours.state(room_id, "m.room.member", bob)
    assert member is not None and member.membership == "leave"


async def test_the_knock_is_sent_to_the_other_servers(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room_id = await ours.room("10", name={"name": "Ours"})
    async with FederationPeer(authority, number=2) as member:
        await member.join(ours.server_name, room_id, member.user("carol"), "10")
        await ours.membership.set_state(ours.user("ours"), room_id, peer.user("x"), {"membership": "ban"})
        from_now = len(member.received())
        await ours_takes_knocks(ours, room_id)
        event = await knocks(peer, ours, room_id, "10")
        await until(lambda: any(pdu["content"] == event.content for pdu in member.received()[from_now:]))


async def ours_takes_knocks(ours: FederatingServer, room_id: str) -> None:
    """Change the join rules."""
    await ours.timeline.send(room_id, Draft(ours.user("ours"), "m.room.join_rules", KNOCK, ""))


async def refused(call: Any) -> FederationError:
    """How a request is refused."""
    with pytest.raises(FederationError) as caught:
        await call
    return caught.value


async def test_make_knock_refusals(ours: FederatingServer, peer: FederationPeer) -> None:
    open_room, club = await ours.room("10"), await ours.room("11", join_rules=KNOCK)
    bob, server = peer.user("bob"), ours.server_name
    problem = await refused(make_knock(peer.client, server, open_room, bob, ["10"]))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    problem = await refused(make_knock(peer.client, server, club, bob, ["10"]))
    assert (problem.status, problem.errcode) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert problem.body is not None and problem.body["room_version"] == "11"
    problem = await refused(make_knock(peer.client, server, club, "@bob:elsewhere.test", ["11"]))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    problem = await refused(make_knock(peer.client, server, "!" + "A" * 43, bob, ["12"]))
    assert (problem.status, problem.errcode) == (404, "M_NOT_FOUND")
    await ours.membership.ban(ours.user("ours"), club, bob)
    problem = await refused(make_knock(peer.client, server, club, bob, ["11"]))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")


WRONG: dict[str, Callable[[FederationPeer], dict[str, Any]]] = {
    "a join": lambda peer: {"content": {"membership": "join"}},
    "another type": lambda peer: {"type": "m.room.topic"},
    "another user": lambda peer: {"state_key": peer.user("carol")},
    "a user of another server": lambda peer: {"sender": "@a:b.test", "state_key": "@a:b.test"},
}


@pytest.mark.parametrize("membership", ["knock", "leave"])
@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
async def test_events_that_are_none(
    ours: FederatingServer,
    peer: FederationPeer,
    changes: Callable[[FederationPeer], dict[str, Any]],
    membership: str,
) -> None:
    room_id, bob = await ours.room("10", join_rules=KNOCK, name={"name": "Ours"}), peer.user("bob")
    template = await make_knock(peer.client, ours.server_name, room_id, bob, ["10"])
    event = peer.member_event(template, room_id, bob, membership, **changes(peer))
    send = send_knock if membership == "knock" else send_leave
    problem = await refused(send(peer.client, ours.server_name, event))
    assert (problem.status, problem.errcode) == (400, "M_INVALID_PARAM")
    assert await ours.state(room_id, "m.room.member", bob) is None


async def test_a_knock_that_is_not_allowed_any_more(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob = await ours.room("10", join_rules=KNOCK, name={"name": "Ours"}), peer.user("bob")
    template = await make_knock(peer.client, ours.server_name, room_id, bob, ["10"])
    await ours.membership.ban(ours.user("ours"), room_id, bob)
    event = peer.member_event(template, room_id, bob, "knock")
    problem = await refused(send_knock(peer.client, ours.server_name, event))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
