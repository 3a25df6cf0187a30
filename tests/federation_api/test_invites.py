"""Invites of our users to rooms of other servers: kept, shown, accepted, refused, cancelled, forgotten."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.events import Event
from homeserver.core.signing import sign_event_as
from homeserver.federation.errors import FederationError
from homeserver.services import remote_memberships
from homeserver.storage import out_of_room
from homeserver.storage.events import EventStatus
from tests.support.certificates import Authority
from tests.support.federating_server import INVITES, FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, error, until

VERSIONS = pytest.mark.parametrize("version", ["1", "6", "7", "10", "11", "12"])
INVITE_ONLY = {"join_rule": "invite"}


def private(peer: FederationPeer, version: str = "10") -> PeerRoom:
    """A room of the peer's that one has to be invited to."""
    room = peer.room(version, join_rules=INVITE_ONLY)
    room.add("m.room.name", peer.user("alice"), {"name": "Private"}, "")
    return room


async def section(ours: FederatingServer, user_id: str, name: str, room: PeerRoom, **sync: Any) -> Any:
    """What a section of /sync says of a room; None when it is not in it."""
    answer = await ours.sync(user_id, **sync)
    return answer.get("rooms", {}).get(name, {}).get(room.room_id)


async def put_invite(
    peer: FederationPeer,
    ours: FederatingServer,
    event: Event,
    *,
    room_state: Any = None,
    version: str | None = None,
    pdu: Mapping[str, Any] | None = None,
    event_id: str | None = None,
) -> Any:
    """PUT /invite as it is told."""
    told = peer.rooms[event.room_id].told() if room_state is None else room_state
    body = {
        "room_version": event.rules.version if version is None else version,
        "event": event.pdu if pdu is None else pdu,
        "invite_room_state": told,
    }
    path = f"/_matrix/federation/v2/invite/{event.room_id}/{event_id or event.event_id}"
    return await peer.client.request(ours.server_name, "PUT", path, body=body)


async def refused(*args: Any, **kwargs: Any) -> FederationError:
    """How an invite is refused."""
    with pytest.raises(FederationError) as caught:
        await put_invite(*args, **kwargs)
    return caught.value


@VERSIONS
async def test_an_invite_is_shown_and_accepted(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob = private(peer, version), await ours.account("bob")
    since = (await ours.sync(bob))["next_batch"]
    waiting = asyncio.create_task(section(ours, bob, "invite", room, since=since, timeout_ms=20_000))
    event = await peer.invite(ours.server_name, room, bob, reason="come in")
    assert set(event.signatures) == {peer.server_name, ours.server_name}
    shown = (await waiting)["invite_state"]["events"]
    assert all(set(each) == {"type", "state_key", "sender", "content"} for each in shown)
    told = {(each["type"], each["state_key"]): each["content"] for each in shown}
    assert told["m.room.name", ""] == {"name": "Private"}
    assert told["m.room.create", ""] == room.events[room.state["m.room.create", ""]].content
    assert told["m.room.member", bob] == {"membership": "invite", "reason": "come in"}
    assert await section(ours, bob, "invite", room) is not None  # in an initial sync as well

    since = (await ours.sync(bob))["next_batch"]
    await ours.membership.join(bob, room.room_id)  # without `via`: the inviter's server is known
    answer = await ours.sync(bob, since)
    assert set(answer["rooms"]) == {"join"}
    assert bob in await ours.members(room.room_id)
    assert set((await ours.sync(bob))["rooms"]) == {"join"}


@pytest.mark.parametrize("version", ["1", "2"])
async def test_the_first_form_of_the_endpoint(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob = private(peer, version), await ours.account("bob")
    event = peer.invite_event(room, bob)
    path = f"/_matrix/federation/v1/invite/{room.room_id}/{event.event_id}"
    body = {**event.pdu, "unsigned": {"invite_room_state": room.told()}}
    status, answer = await peer.client.request(ours.server_name, "PUT", path, body=body)
    assert status == 200 and ours.server_name in answer["event"]["signatures"]
    kept = await ours.outside.get(bob, room.room_id)
    assert kept is not None and kept.event.rules.version == version
    assert "unsigned" not in kept.event.pdu


async def test_an_invite_that_comes_again_is_signed_again_and_shown_once(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob = private(peer), await ours.account("bob")
    event = await peer.invite(ours.server_name, room, bob)
    since = (await ours.sync(bob))["next_batch"]
    again = await put_invite(peer, ours, event)
    assert again["event"]["signatures"] == event.signatures
    assert "rooms" not in await ours.sync(bob, since)
    await ours.membership.leave(bob, room.room_id)
    await put_invite(peer, ours, event)
    assert await section(ours, bob, "invite", room) is None


Pdu = dict[str, Any]

WRONG: dict[str, tuple[Callable[[FederationPeer, PeerRoom, str], Event], str]] = {
    "another type": (
        lambda peer, room, bob: room.make("m.room.topic", peer.user("alice"), {"membership": "invite"}, bob),
        "its type is m.room.topic",
    ),
    "a kick": (
        lambda peer, room, bob: room.make("m.room.member", peer.user("alice"), {"membership": "leave"}, bob),
        "its membership is not invite",
    ),
    "a sender of another server": (
        lambda peer, room, bob: room.make(
            "m.room.member", "@eve:elsewhere.test", {"membership": "invite"}, bob
        ),
        "its sender @eve:elsewhere.test is not a user of",
    ),
    "a user of another server": (
        lambda peer, room, bob: peer.invite_event(room, "@bob:elsewhere.test"),
        "its state_key is not a user of this server",
    ),
    "no state key": (
        lambda peer, room, bob: room.make("m.room.member", peer.user("alice"), {"membership": "invite"}),
        "its state_key is not a user of this server",
    ),
    "another room": (
        lambda peer, room, bob: peer.invite_event(room, bob, room_id="!other:elsewhere.test"),
        "the event is of room !other:elsewhere.test",
    ),
    "nothing before it": (
        lambda peer, room, bob: peer.invite_event(room, bob, prev_events=[], auth_events=[]),
        "it refers to no events before it",
    ),
}


@pytest.mark.parametrize(("make", "reason"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_no_invite_is_not_signed(
    ours: FederatingServer,
    peer: FederationPeer,
    make: Callable[[FederationPeer, PeerRoom, str], Event],
    reason: str,
) -> None:
    room, bob = private(peer), await ours.account("bob")
    event = make(peer, room, bob)
    path = f"/_matrix/federation/v2/invite/{room.room_id}/{event.event_id}"
    body = {"room_version": "10", "event": event.pdu, "invite_room_state": room.told()}
    with pytest.raises(FederationError) as caught:
        await peer.client.request(ours.server_name, "PUT", path, body=body)
    assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
    assert reason in caught.value.reason
    assert await ours.outside.get(bob, room.room_id) is None


async def test_an_invite_that_is_forged(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = private(peer), await ours.account("bob")
    event = peer.invite_event(room, bob)
    changed = {**event.pdu, "content": {"membership": "invite", "reason": "changed"}}
    problem = await refused(peer, ours, event, pdu=changed)
    assert problem.errcode == "M_INVALID_PARAM" and "content hash" in problem.reason
    unsigned = {**event.pdu, "signatures": {}}
    problem = await refused(peer, ours, event, pdu=unsigned)
    assert problem.errcode == "M_INVALID_PARAM" and "signature check" in problem.reason
    problem = await refused(peer, ours, event, event_id="$" + "A" * 43)
    assert problem.errcode == "M_INVALID_PARAM" and "its ID is" in problem.reason


async def test_a_room_version_that_we_do_not_know(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = private(peer), await ours.account("bob")
    problem = await refused(peer, ours, peer.invite_event(room, bob), version="org.example.new")
    assert (problem.status, problem.errcode) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
    assert problem.body is not None and problem.body["room_version"] == "org.example.new"


async def test_users_that_cannot_be_invited(ours: FederatingServer, peer: FederationPeer) -> None:
    room = private(peer)
    gone = await ours.account("gone", is_deactivated=True)
    for user_id in (ours.user("nobody"), gone):
        problem = await refused(peer, ours, peer.invite_event(room, user_id))
        assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")


async def test_what_is_told_of_a_room_is_checked_from_version_12_on(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, other, bob = private(peer, "12"), private(peer, "12"), await ours.account("bob")
    event = peer.invite_event(room, bob)
    create, *others = room.told()
    stripped = {"type": "m.room.name", "state_key": "", "sender": peer.user("alice"), "content": {}}
    wrong: dict[str, list[Any]] = {
        "m.room.create is missing": others,
        "m.room.name": [create, stripped],
        "is not an event of the room": [create, *other.told()],
        "signature": [{**create, "signatures": {}}],
        "not an event": [create, "nonsense"],
    }
    for reason, told in wrong.items():
        problem = await refused(peer, ours, event, room_state=told)
        assert problem.errcode == "M_INVALID_PARAM" and reason in problem.reason, told
    await put_invite(peer, ours, event)
    assert await section(ours, bob, "invite", room) is not None


async def test_what_older_servers_tell_of_a_room_is_shown_as_far_as_it_is_not_forged(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, alice = private(peer), await ours.account("bob"), peer.user("alice")
    create, name, rules = room.told()[0], room.told()[-1], room.told()[1]
    told = [
        {"type": "m.room.topic", "state_key": "", "sender": alice, "content": {"topic": "short"}, "more": 1},
        {**name, "signatures": {}},
        {"type": "m.room.avatar", "state_key": 1, "sender": alice, "content": {}},
        {**rules, "room_id": "!other:elsewhere.test"},
        create,
        7,
    ]
    await put_invite(peer, ours, peer.invite_event(room, bob), room_state=told)
    shown = (await section(ours, bob, "invite", room))["invite_state"]["events"]
    assert [each["type"] for each in shown] == ["m.room.create", "m.room.topic", "m.room.member"]
    assert all(set(each) == {"type", "state_key", "sender", "content"} for each in shown)


@VERSIONS
async def test_refusing_an_invite(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room, bob = private(peer, version), await ours.account("bob")
    invite = await peer.invite(ours.server_name, room, bob)
    since = (await ours.sync(bob))["next_batch"]
    await ours.membership.leave(bob, room.room_id, "no, thank you")
    left = room.events[room.state["m.room.member", bob]]
    assert left.content == {"membership": "leave", "reason": "no, thank you"}
    assert invite.event_id in left.auth_event_ids
    told = await section(ours, bob, "leave", room, since=since)
    (shown,) = told["timeline"]["events"]
    assert (shown["event_id"], shown["content"]["membership"]) == (left.event_id, "leave")
    assert "rooms" not in await ours.sync(bob)
    await ours.membership.leave(bob, room.room_id)  # nothing is left to refuse
    assert len(peer.asked_for("make_leave")) == 1
    again = await peer.invite(ours.server_name, room, bob)
    assert again.event_id != invite.event_id
    assert await section(ours, bob, "invite", room) is not None


async def test_an_invite_can_be_refused_when_the_inviting_server_is_gone(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    since = (await ours.sync(bob))["next_batch"]
    await peer.stop()
    await ours.membership.leave(bob, room.room_id)
    assert await section(ours, bob, "leave", room, since=since) is not None
    assert "rooms" not in await ours.sync(bob)


async def test_an_invite_can_be_refused_when_the_inviting_server_does_not_answer(
    ours: FederatingServer, peer: FederationPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_memberships, "LEAVE_TIMEOUT_S", 0.2)
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    silence = asyncio.Event()
    peer.answers["make_leave"] = lambda _: silence.wait()
    await ours.membership.leave(bob, room.room_id)
    silence.set()
    assert "rooms" not in await ours.sync(bob)


TEMPLATES: dict[str, Callable[[Pdu], object]] = {
    "a join": lambda event: event["content"].update(membership="join"),
    "another sender": lambda event: event.update(sender="@root:elsewhere.test"),
    "another type": lambda event: event.update(type="m.room.power_levels"),
    "another room": lambda event: event.update(room_id="!other:elsewhere.test"),
    "no prev events": lambda event: event.update(prev_events=[]),
}


@pytest.mark.parametrize("change", TEMPLATES.values(), ids=TEMPLATES.keys())
async def test_a_leave_template_that_asks_to_sign_something_else(
    ours: FederatingServer, peer: FederationPeer, change: Callable[[Pdu], object]
) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        change(honest["event"])
        return honest

    peer.answers["make_leave"] = answer
    await ours.membership.leave(bob, room.room_id)
    assert peer.asked_for("send_leave") == []
    assert "rooms" not in await ours.sync(bob)


@VERSIONS
async def test_a_cancelled_invite_goes_away(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob = private(peer, version), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    since = (await ours.sync(bob))["next_batch"]
    kick = room.add("m.room.member", peer.user("alice"), {"membership": "leave", "reason": "no"}, bob)
    assert await peer.send(ours.server_name, kick) == {kick.event_id: None}
    told = await section(ours, bob, "leave", room, since=since)
    assert told["timeline"]["events"][0]["content"]["reason"] == "no"
    assert "rooms" not in await ours.sync(bob)
    with pytest.raises(MatrixError) as caught:
        peer.answers["make_join"] = lambda _: error(403, "M_FORBIDDEN", "You are not invited")
        await ours.membership.join(bob, room.room_id, [peer.server_name])
    assert caught.value.errcode == "M_FORBIDDEN"


async def test_who_is_not_in_the_room_cannot_cancel_an_invite(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room, bob = private(peer), await ours.account("bob")
    invite = await peer.invite(ours.server_name, room, bob)
    async with FederationPeer(authority, number=2) as stranger:
        # Who does not know the invite's ID cannot name it.
        fake = PeerRoom(stranger, "10", room.room_id)
        fake.heads, fake.events, fake.state_before = room.heads, room.events, room.state_before
        unrelated = [room.state["m.room.create", ""]]
        guessed = fake.make(
            "m.room.member", stranger.user("eve"), {"membership": "leave"}, bob, auth_events=unrelated
        )
        assert list((await stranger.send(ours.server_name, guessed)).values()) != [None]
        # Who does cannot sign for others.
        forged = fake.make("m.room.member", peer.user("alice"), {"membership": "leave"}, bob)
        assert invite.event_id in forged.auth_event_ids
        assert list((await stranger.send(ours.server_name, forged)).values()) != [None]
    assert await section(ours, bob, "invite", room) is not None


async def test_a_ban_ends_an_invite(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    ban = room.add("m.room.member", peer.user("alice"), {"membership": "ban"}, bob)
    assert await peer.send(ours.server_name, ban) == {ban.event_id: None}
    kept = await ours.outside.get(bob, room.room_id)
    assert kept is not None and kept.membership == "ban"


async def test_forgetting_a_room_that_one_was_invited_to(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    with pytest.raises(MatrixError) as caught:
        await ours.membership.forget(bob, room.room_id)
    assert caught.value.status == 400
    await ours.membership.leave(bob, room.room_id)
    await ours.membership.forget(bob, room.room_id)
    kept = await ours.database.read(lambda tx: out_of_room.get(tx, bob, room.room_id))
    assert kept is not None and kept.forgotten
    await peer.invite(ours.server_name, room, bob)
    assert await section(ours, bob, "invite", room) is not None


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_an_invite_to_a_room_that_we_are_in_is_shown_once(
    ours: FederatingServer, peer: FederationPeer, version: str
) -> None:
    room, bob, carol = private(peer, version), await ours.account("bob"), await ours.account("carol")
    await peer.invite(ours.server_name, room, carol)
    await ours.membership.join(carol, room.room_id)
    invite = await peer.invite(ours.server_name, room, bob)
    assert await section(ours, bob, "invite", room) is not None
    assert await peer.send(ours.server_name, invite) == {invite.event_id: None}
    stored = await ours.stored(invite.event_id)
    assert stored is not None and stored.position is not None
    assert set((await ours.sync(bob))["rooms"]) == {"invite"}
    await ours.membership.leave(bob, room.room_id)
    left = await ours.state(room.room_id, "m.room.member", bob)
    assert left is not None and left.membership == "leave"
    assert "rooms" not in await ours.sync(bob)
    await until(lambda: left.event_id in room.events)


async def test_an_invite_to_a_room_that_we_are_in_can_be_accepted_before_it_arrives_there(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = private(peer), await ours.account("bob"), await ours.account("carol")
    await peer.invite(ours.server_name, room, carol)
    await ours.membership.join(carol, room.room_id)
    room.say(peer.user("alice"), "which has not arrived either")
    invite = await peer.invite(ours.server_name, room, bob)
    await ours.membership.join(bob, room.room_id)
    assert await ours.members(room.room_id) == sorted([bob, carol, peer.user("alice")])
    assert set((await ours.sync(bob))["rooms"]) == {"join"}
    # The invite has its place before the join, and is not refused because the user is there already.
    stored = await ours.stored(invite.event_id)
    assert stored is not None and stored.status is EventStatus.ACCEPTED and stored.position is not None
    assert await peer.send(ours.server_name, invite) == {invite.event_id: None}
    assert len(peer.asked_for("make_join")) == 1  # carol's


async def test_an_invite_whose_past_cannot_be_had_is_accepted_through_the_inviter(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = private(peer), await ours.account("bob"), await ours.account("carol")
    await peer.invite(ours.server_name, room, carol)
    await ours.membership.join(carol, room.room_id)
    room.say(peer.user("alice"), "which never arrives")
    await peer.invite(ours.server_name, room, bob)
    for endpoint in ("get_missing_events", "state_ids", "state"):
        peer.answers[endpoint] = lambda _: error(500, "M_UNKNOWN", "Oh no")
    await ours.membership.join(bob, room.room_id)
    assert bob in await ours.members(room.room_id)


async def test_invites_of_those_who_are_in_the_room_or_banned_are_refused(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = peer.room(), await ours.account("bob"), await ours.account("carol")
    await ours.joins.join(bob, room.room_id, [peer.server_name], {})
    ban = room.add("m.room.member", peer.user("alice"), {"membership": "ban"}, carol)
    await peer.send(ours.server_name, ban)
    for user_id, reason in ((bob, "already in"), (carol, "banned from")):
        problem = await refused(peer, ours, peer.invite_event(room, user_id))
        assert problem.errcode == "M_FORBIDDEN" and reason in problem.reason


async def test_a_server_that_the_room_keeps_out_cannot_invite(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = peer.room(), await ours.account("bob"), await ours.account("carol")
    await ours.joins.join(bob, room.room_id, [peer.server_name], {})
    acl = {"allow": ["*"], "allow_ip_literals": False}
    await peer.send(ours.server_name, room.add("m.room.server_acl", peer.user("alice"), acl, ""))
    problem = await refused(peer, ours, peer.invite_event(room, carol))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")


async def test_a_room_that_all_of_ours_have_left(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    await ours.membership.join(bob, room.room_id)
    await ours.membership.leave(bob, room.room_id)
    await until(lambda: room.events[room.state["m.room.member", bob]].membership == "leave")
    room.say(peer.user("alice"), "bob is not here")
    await peer.invite(ours.server_name, room, bob)
    assert set((await ours.sync(bob))["rooms"]) == {"invite"}
    await ours.membership.join(bob, room.room_id)
    assert set((await ours.sync(bob))["rooms"]) == {"join"}
    assert bob in await ours.members(room.room_id)


async def test_an_invite_from_before_the_last_of_ours_left_can_be_cancelled(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = peer.room(), await ours.account("bob"), await ours.account("carol")
    await ours.joins.join(carol, room.room_id, [peer.server_name], {})
    invite = await peer.invite(ours.server_name, room, bob)
    await peer.send(ours.server_name, invite)
    await ours.membership.leave(carol, room.room_id)
    await until(lambda: room.events[room.state["m.room.member", carol]].membership == "leave")
    assert set((await ours.sync(bob))["rooms"]) == {"invite"}
    kick = room.add("m.room.member", peer.user("alice"), {"membership": "leave"}, bob)
    assert await peer.send(ours.server_name, kick) == {kick.event_id: None}
    assert "rooms" not in await ours.sync(bob)


async def test_an_invite_is_ours_to_sign_though_others_have_signed_it(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room, bob = private(peer), await ours.account("bob")
    async with FederationPeer(authority, number=2) as other:
        event = sign_event_as(peer.invite_event(room, bob), other.server_name, other.signing_key)
        answer = await put_invite(peer, ours, event)
    assert set(answer["event"]["signatures"]) == {
        peer.server_name,
        other.server_name,
        ours.server_name,
    }


async def test_nobody_is_flooded_with_invites(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob = private(peer), await ours.account("bob")
    event = await peer.invite(ours.server_name, room, bob)
    for _ in range(INVITES.per_user.burst_count):
        await put_invite(peer, ours, event)  # the same again is not counted
    for _ in range(INVITES.per_user.burst_count - 1):
        await peer.invite(ours.server_name, private(peer), bob)
    problem = await refused(peer, ours, peer.invite_event(private(peer), bob))
    assert (problem.status, problem.errcode) == (429, "M_LIMIT_EXCEEDED")
    await peer.invite(ours.server_name, private(peer), await ours.account("carol"))


async def test_what_is_told_of_a_room_is_bounded(ours: FederatingServer, peer: FederationPeer) -> None:
    room, bob, alice = private(peer), await ours.account("bob"), peer.user("alice")
    many = [
        {"type": f"x{number}", "state_key": "", "sender": alice, "content": {"text": "x" * 50_000}}
        for number in range(10)
    ]
    await put_invite(peer, ours, peer.invite_event(room, bob), room_state=[*room.told(), *many])
    shown = (await section(ours, bob, "invite", room))["invite_state"]["events"]
    assert [each["type"] for each in shown if each["type"].startswith("x")] == ["x0", "x1", "x2", "x3", "x4"]


async def test_an_invite_that_reaches_the_room_together_with_its_end(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob, carol = peer.room(), await ours.account("bob"), await ours.account("carol")
    for user_id in (carol, bob):
        await ours.membership.join(user_id, room.room_id, [peer.server_name])
    await ours.membership.leave(bob, room.room_id)
    await until(lambda: room.events[room.state["m.room.member", bob]].membership == "leave")
    invite = await peer.invite(ours.server_name, room, bob)
    since = (await ours.sync(bob))["next_batch"]
    kick = room.add("m.room.member", peer.user("alice"), {"membership": "leave"}, bob)
    verdicts = await peer.send(ours.server_name, invite, kick)
    assert verdicts == {invite.event_id: None, kick.event_id: None}
    answer = await ours.sync(bob, since)
    assert set(answer["rooms"]) == {"leave"}
    assert "rooms" not in await ours.sync(bob, answer["next_batch"])
