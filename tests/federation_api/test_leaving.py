"""Users of other servers who leave our rooms, refuse our invites, and are removed; our users who leave for good and come back."""

from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import make_leave, send_leave
from homeserver.federation.transport import matrix_path
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, error, until

VERSIONS = pytest.mark.parametrize("version", ["1", "6", "7", "10", "11", "12"])


async def membership(ours: FederatingServer, room_id: str, user_id: str) -> str | None:
    """What a user is in a room of ours."""
    event = await ours.state(room_id, "m.room.member", user_id)
    return event.membership if event else None


def membership_in(room: PeerRoom, user_id: str) -> str | None:
    """What a user is in a room of the peer's."""
    return room.events[room.state["m.room.member", user_id]].membership


async def refused(call: Any) -> FederationError:
    """How a request is refused."""
    with pytest.raises(FederationError) as caught:
        await call
    return caught.value


@VERSIONS
async def test_our_invite_is_refused(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room_id, bob = await ours.room(version, join_rules={"join_rule": "invite"}), peer.user("bob")
    await ours.membership.invite(ours.user("ours"), room_id, bob)
    assert await membership(ours, room_id, bob) == "invite"
    template = await make_leave(peer.client, ours.server_name, room_id, bob)
    assert template.rules.version == version
    event = peer.member_event(template, room_id, bob, "leave")
    await send_leave(peer.client, ours.server_name, event)
    assert await membership(ours, room_id, bob) == "leave"
    await send_leave(peer.client, ours.server_name, event)  # its answer was lost
    problem = await refused(make_leave(peer.client, ours.server_name, room_id, bob))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")


async def test_the_older_form_of_send_leave(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob = await ours.room("10"), peer.user("bob")
    await ours.membership.invite(ours.user("ours"), room_id, bob)
    template = await make_leave(peer.client, ours.server_name, room_id, bob)
    event = peer.member_event(template, room_id, bob, "leave")
    path = matrix_path("_matrix", "federation", "v1", "send_leave", room_id, event.event_id)
    assert await peer.client.request(ours.server_name, "PUT", path, body=event.canonical) == [200, {}]
    assert await membership(ours, room_id, bob) == "leave"


async def test_the_leave_is_sent_to_the_other_servers(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room_id, bob = await ours.room("10"), peer.user("bob")
    async with FederationPeer(authority, number=2) as member:
        room = await member.join(ours.server_name, room_id, member.user("carol"), "10")
        await ours.membership.invite(ours.user("ours"), room_id, bob)
        template = await make_leave(peer.client, ours.server_name, room_id, bob)
        event = peer.member_event(template, room_id, bob, "leave")
        await send_leave(peer.client, ours.server_name, event)
        await until(lambda: event.event_id in room.events)
    assert peer.received() == []


async def test_make_leave_refusals(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob = await ours.room("10"), peer.user("bob")
    for user_id in (bob, "@bob:elsewhere.test", "bob"):
        problem = await refused(make_leave(peer.client, ours.server_name, room_id, user_id))
        assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    problem = await refused(make_leave(peer.client, ours.server_name, "!" + "A" * 43, bob))
    assert (problem.status, problem.errcode) == (404, "M_NOT_FOUND")


async def test_an_invite_that_we_cancel_is_told(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob = await ours.room("10"), peer.user("bob")
    await ours.membership.invite(ours.user("ours"), room_id, bob)
    await ours.membership.kick(ours.user("ours"), room_id, bob, "a mistake")
    await until(peer.received)
    assert peer.received()[0]["content"] == {"membership": "leave", "reason": "a mistake"}


@VERSIONS
async def test_users_of_others_are_kicked_and_banned(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room_id, host, bob = await ours.room(version), ours.user("ours"), peer.user("bob")
    room = await peer.join(ours.server_name, room_id, bob, version)
    await ours.membership.kick(host, room_id, bob, "out")
    await until(lambda: membership_in(room, bob) == "leave")
    await peer.join(ours.server_name, room_id, bob, version)
    room = peer.rooms[room_id]
    await ours.membership.ban(host, room_id, bob)
    await until(lambda: membership_in(room, bob) == "ban")
    problem = await refused(peer.join(ours.server_name, room_id, bob, version))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    await ours.membership.unban(host, room_id, bob)
    await peer.join(ours.server_name, room_id, bob, version)
    assert bob in await ours.members(room_id)


@VERSIONS
async def test_our_users_are_kicked_and_banned_by_others(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob, alice = peer.room(version), await ours.account("bob"), peer.user("alice")
    await ours.membership.join(bob, room.room_id, [peer.server_name])
    since = (await ours.sync(bob))["next_batch"]
    for verdict in ("leave", "ban"):
        out = room.add("m.room.member", alice, {"membership": verdict, "reason": "out"}, bob)
        assert await peer.send(ours.server_name, out) == {out.event_id: None}
        answer = await ours.sync(bob, since)
        assert set(answer["rooms"]) == {"leave"}
        if verdict == "leave":
            await ours.membership.join(bob, room.room_id)  # the last of ours had gone
            since = (await ours.sync(bob))["next_batch"]
    peer.answers["make_join"] = lambda _: error(403, "M_FORBIDDEN", "You are banned")
    with pytest.raises(MatrixError) as caught:
        await ours.membership.join(bob, room.room_id, [peer.server_name])
    assert caught.value.errcode == "M_FORBIDDEN"
    del peer.answers["make_join"]
    room.add("m.room.member", alice, {"membership": "leave"}, bob)
    await ours.membership.join(bob, room.room_id)
    assert bob in await ours.members(room.room_id)
    assert set((await ours.sync(bob))["rooms"]) == {"join"}


@VERSIONS
async def test_the_last_of_ours_leaves_and_comes_back(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob, alice = peer.room(version), await ours.account("bob"), peer.user("alice")
    await ours.membership.join(bob, room.room_id, [peer.server_name])
    await ours.membership.leave(bob, room.room_id)
    await until(lambda: membership_in(room, bob) == "leave")
    missed = room.say(alice, "bob does not hear this")
    topic = room.add("m.room.topic", alice, {"topic": "changed"}, "")
    assert (
        list((await peer.send(ours.server_name, missed, topic)).values())
        == [f"{ours.server_name} is not in the room {room.room_id}"] * 2
    )
    assert "rooms" not in await ours.sync(bob)
    await ours.membership.join(bob, room.room_id)
    now = await ours.state(room.room_id, "m.room.topic")
    assert now is not None and now.event_id == topic.event_id
    said = await ours.say(room.room_id, bob, "I am back")
    await until(lambda: said in room.events)


async def test_several_servers_are_asked_to_let_us_into_a_restricted_room(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    allow = [{"type": "m.room_membership", "room_id": "!other:elsewhere.test"}]
    room = peer.room("10", join_rules={"join_rule": "restricted", "allow": allow})
    bob = await ours.account("bob")

    def let_in(asked: Asked) -> Any:
        content = {"membership": "join", "join_authorised_via_users_server": peer.user("alice")}
        event = room.make("m.room.member", asked.path[1], content, asked.path[1])
        return {"room_version": "10", "event": dict(event.pdu)}

    peer.answers["make_join"] = let_in
    async with (
        FederationPeer(authority, number=2) as cannot_tell,
        FederationPeer(authority, number=3) as may_not,
    ):
        cannot_tell.answers["make_join"] = lambda _: error(400, "M_UNABLE_TO_AUTHORISE_JOIN", "Cannot tell")
        may_not.answers["make_join"] = lambda _: error(400, "M_UNABLE_TO_GRANT_JOIN", "May not invite")
        via = [cannot_tell.server_name, may_not.server_name]
        with pytest.raises(MatrixError) as caught:
            peer.answers["make_join"] = lambda _: error(403, "M_FORBIDDEN", "You are in none of the rooms")
            await ours.membership.join(bob, room.room_id, [*via, peer.server_name])
        assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")
        assert "You are in none of the rooms" in caught.value.message
        peer.answers["make_join"] = let_in
        await ours.membership.join(bob, room.room_id, [*via, peer.server_name])
    assert bob in await ours.members(room.room_id)
