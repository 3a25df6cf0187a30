"""Joining rooms of other servers: the asking side."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiohttp import web

from homeserver.core.errors import MatrixError
from homeserver.services import joins
from homeserver.services.timeline import Draft
from homeserver.storage import rooms
from homeserver.storage.events import EventStatus
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, error, until
from tests.support.invariants import violations


async def nothing_is_stored(ours: FederatingServer, room: PeerRoom) -> bool:
    """Whether a join has left no trace."""
    return await ours.database.read(lambda tx: rooms.get(tx, room.room_id)) is None


async def failure(ours: FederatingServer, room: PeerRoom, *via: str) -> MatrixError:
    """How a join fails."""
    with pytest.raises(MatrixError) as caught:
        await ours.joins.join(ours.user("bob"), room.room_id, list(via), {})
    return caught.value


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
    sent = await ours.say(room.room_id, ours.user("bob"), "hello too")
    await arrives(sent, room)


async def arrives(event_id: str, room: PeerRoom) -> None:
    """Wait until the peer has an event."""
    await until(lambda: event_id in room.events)


async def test_servers_are_tried_in_turn(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room = peer.room()
    async with FederationPeer(authority, number=2) as stranger:
        via = ["127.87.0.0:1", stranger.server_name, peer.server_name]
        await ours.joins.join(ours.user("bob"), room.room_id, via, {})
        assert [asked.endpoint for asked in stranger.asked] == ["make_join"]
    assert ours.user("bob") in await ours.members(room.room_id)


async def test_the_error_says_which_servers_were_tried_and_how_far_each_came(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    room = peer.room()
    peer.answers["send_join"] = lambda _: {"state": [], "auth_chain": []}
    async with FederationPeer(authority, number=2) as stranger:
        problem = await failure(ours, room, stranger.server_name, peer.server_name)
        assert problem.status == 502
        assert f"{stranger.server_name}: make_join: " in problem.message
        assert (
            f"{peer.server_name}: verifying the room's state: the state has no m.room.create"
            in problem.message
        )
    assert await nothing_is_stored(ours, room)


async def test_a_refusal_of_the_user_is_passed_on(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    peer.answers["make_join"] = lambda _: error(403, "M_FORBIDDEN", "You are not invited")
    problem = await failure(ours, room, peer.server_name)
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    assert "You are not invited" in problem.message


async def test_no_server_to_ask(ours: FederatingServer, peer: FederationPeer) -> None:
    with pytest.raises(MatrixError) as caught:
        await ours.joins.join(ours.user("bob"), "!" + "A" * 43, [ours.server_name, "not a server"], {})
    assert caught.value.status == 404 and "via" in caught.value.message


Change = Callable[[dict[str, Any]], object]

TEMPLATES: dict[str, Change] = {
    "another type": lambda event: event.update(type="m.room.power_levels"),
    "another sender": lambda event: event.update(sender="@root:elsewhere.test"),
    "another state key": lambda event: event.update(state_key="@root:elsewhere.test"),
    "another room": lambda event: event.update(room_id="!other:elsewhere.test"),
    "a leave": lambda event: event["content"].update(membership="leave"),
    "no content": lambda event: event.pop("content"),
    "no prev events": lambda event: event.update(prev_events=[]),
    "prev events that are none": lambda event: event.update(prev_events=[{"a": 1}]),
    "too many prev events": lambda event: event.update(prev_events=[f"${n:043}" for n in range(21)]),
    "a prev event twice": lambda event: event.update(prev_events=event["prev_events"] * 2),
    "too many auth events": lambda event: event.update(auth_events=[f"${n:043}" for n in range(11)]),
    "depth zero": lambda event: event.update(depth=0),
    "a huge depth": lambda event: event.update(depth=2**60),
    "a depth that is a string": lambda event: event.update(depth="7"),
    "an authoriser of another server": lambda event: event["content"].update(
        join_authorised_via_users_server="@root:elsewhere.test"
    ),
    "an authoriser that is no user": lambda event: event["content"].update(
        join_authorised_via_users_server=7
    ),
}


@pytest.mark.parametrize("change", TEMPLATES.values(), ids=TEMPLATES.keys())
async def test_a_template_that_asks_to_sign_something_else(
    ours: FederatingServer, peer: FederationPeer, change: Change
) -> None:
    room = peer.room()

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        change(honest["event"])
        return honest

    peer.answers["make_join"] = answer
    problem = await failure(ours, room, peer.server_name)
    assert problem.status == 502 and "make_join" in problem.message
    assert peer.asked_for("send_join") == []
    assert await nothing_is_stored(ours, room)


@pytest.mark.parametrize("version", ["13", "org.example.new", 10, None])
async def test_a_room_version_that_we_do_not_know(
    ours: FederatingServer, peer: FederationPeer, version: object
) -> None:
    room = peer.room()
    peer.answers["make_join"] = lambda asked: {**peer.honest(asked), "room_version": version}
    assert (await failure(ours, room, peer.server_name)).status == 502
    assert peer.asked_for("send_join") == [] or version is None


async def test_only_what_we_mean_is_signed(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        honest["event"]["content"] |= {"displayname": "a name of theirs", "is_admin": True}
        honest["event"] |= {"redacts": "$something", "unsigned": {"a": 1}, "origin_server_ts": 1}
        return honest

    peer.answers["make_join"] = answer
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {"reason": "because"})
    signed = peer.asked_for("send_join")[0].body
    assert signed["content"] == {"membership": "join", "reason": "because"}
    assert "redacts" not in signed and "unsigned" not in signed and signed["origin_server_ts"] > 1


async def test_a_server_that_knows_the_first_send_join_only(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room = peer.room()
    peer.answers["send_join"] = lambda _: error(404, "M_UNRECOGNIZED", "what?")
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    assert len(peer.asked_for("send_join_v1")) == 1


def changed_state(
    peer: FederationPeer, change: Callable[[list[dict[str, Any]]], object]
) -> Callable[[Asked], Any]:
    """A send_join answer with a changed state."""

    def answer(asked: Asked) -> Any:
        honest = json.loads(json.dumps({**peer.honest(asked), "event": None}, default=dict))
        change(honest["state"])
        chain = {json.dumps(event["hashes"]) for event in honest["state"]}
        honest["auth_chain"] = [
            event for event in honest["auth_chain"] if json.dumps(event["hashes"]) in chain
        ]
        return honest

    return answer


def of_type(events: list[dict[str, Any]], event_type: str) -> dict[str, Any]:
    """The event of a type."""
    return next(event for event in events if event["type"] == event_type)


STATES: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "no create event": (
        lambda state: state.remove(of_type(state, "m.room.create")),
        "the state has no m.room.create event",
    ),
    "a create event without signature": (
        lambda state: of_type(state, "m.room.create").update(signatures={}),
        "the state has no m.room.create event",
    ),
    "join rules that are forged": (
        lambda state: of_type(state, "m.room.join_rules").update(depth=99),
        "the room's state does not allow the join",
    ),
    "no power": (
        lambda state: state.remove(of_type(state, "m.room.member")),
        "the room's state does not allow the join",
    ),
}


@pytest.mark.parametrize(("change", "reason"), STATES.values(), ids=STATES.keys())
async def test_a_state_that_cannot_be(
    ours: FederatingServer,
    peer: FederationPeer,
    change: Callable[[list[dict[str, Any]]], object],
    reason: str,
) -> None:
    room = peer.room()
    peer.answers["send_join"] = changed_state(peer, change)
    problem = await failure(ours, room, peer.server_name)
    assert reason in problem.message
    assert await nothing_is_stored(ours, room)


async def test_what_is_wrong_with_single_events_of_the_state(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    alice, mallory = peer.user("alice"), peer.user("mallory")
    room = peer.room()
    topic = room.add("m.room.topic", alice, {"topic": "kept"}, "")
    name = room.add("m.room.name", alice, {"name": "changed on the way"}, "")
    unsigned = room.add("m.room.avatar", alice, {"url": "mxc://a/b"}, "")
    # Nobody let Mallory in, and nobody gave the power to set this.
    forbidden = room.add("m.room.canonical_alias", mallory, {"alias": "#a:b"}, "")

    def change(state: list[dict[str, Any]]) -> None:
        of_type(state, "m.room.name")["content"]["name"] = "something else"
        of_type(state, "m.room.avatar")["signatures"] = {}

    peer.answers["send_join"] = changed_state(peer, change)
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    kept = await ours.state(room.room_id, "m.room.topic")
    assert kept is not None and kept.event_id == topic.event_id
    # A wrong hash: redacted, and still the state.
    redacted = await ours.state(room.room_id, "m.room.name")
    assert redacted is not None and redacted.event_id == name.event_id and redacted.content == {}
    assert await ours.state(room.room_id, "m.room.avatar") is None
    assert await ours.stored(unsigned.event_id) is None
    assert await ours.state(room.room_id, "m.room.canonical_alias") is None
    rejected = await ours.stored(forbidden.event_id)
    assert rejected is not None and rejected.status.name == "REJECTED"


async def test_a_create_event_of_another_version(ours: FederatingServer, peer: FederationPeer) -> None:
    # Versions 9 and 10 have the same event format, so only the create event tells them apart.
    room = peer.room("9")
    peer.answers["make_join"] = lambda asked: {**peer.honest(asked), "room_version": "10"}
    problem = await failure(ours, room, peer.server_name)
    assert "the create event is of room version 9, not 10" in problem.message


async def test_a_create_event_without_a_version(ours: FederatingServer, peer: FederationPeer) -> None:
    room = PeerRoom(peer, "10")
    alice = peer.user("alice")
    peer.rooms[room.room_id] = room
    room.add("m.room.create", alice, {"creator": alice}, "")
    room.add("m.room.member", alice, {"membership": "join"}, alice)
    room.add("m.room.join_rules", alice, {"join_rule": "public"}, "")
    problem = await failure(ours, room, peer.server_name)
    assert "the room is of version '1', not 10" in problem.message


async def test_another_event_comes_back(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room("1")  # where the event ID is no hash, so that only the comparison shows it

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        return {**honest, "event": {**honest["event"], "content": {"membership": "leave"}}}

    peer.answers["send_join"] = answer
    problem = await failure(ours, room, peer.server_name)
    assert "another event than the one we signed" in problem.message


async def test_members_must_not_be_left_out(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    peer.answers["send_join"] = lambda asked: {
        **peer.honest(asked),
        "members_omitted": True,
        "servers_in_room": [peer.server_name],
    }
    assert "left out members" in (await failure(ours, room, peer.server_name)).message


@pytest.mark.parametrize(
    ("piece", "reason", "most"),
    [
        (b"x" * 2**20, "send_join: the answer is not JSON: not JSON, or a single value of over 4194304", 40),
        (b'x", "' * 2**18, "send_join: the answer is not what the endpoint promises: more than 10000", 40),
        (b"x" * 2**20 + b'", "', "send_join: the answer is larger than", 400),
    ],
    ids=["one value", "many values", "large values"],
)
async def test_a_gigabyte_is_not_read(
    ours: FederatingServer, peer: FederationPeer, piece: bytes, reason: str, most: int
) -> None:
    room = peer.room()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"state": ["'
        for _ in range(1024):
            sent += 1
            yield piece
            await asyncio.sleep(0)  # so that this side learns when the other has hung up

    def answer(_: Asked) -> web.Response:
        return web.Response(body=endless(), content_type="application/json")

    peer.answers["send_join"] = answer
    problem = await failure(ours, room, peer.server_name)
    assert reason in problem.message
    assert sent < most
    assert await nothing_is_stored(ours, room)


async def test_a_server_that_answers_byte_by_byte(
    ours: FederatingServer, peer: FederationPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "MAKE_JOIN_TIMEOUT_S", 0.3)
    room = peer.room()

    async def slowly() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    peer.answers["make_join"] = lambda _: web.Response(body=slowly(), content_type="application/json")
    problem = await failure(ours, room, peer.server_name)
    assert "no answer within" in problem.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{",
        b'{"event": {}}',
        b"null",
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"event": "\xff"}',
        b'{"a":1,"a":2}',
    ],
)
async def test_answers_that_are_not_what_they_should_be(
    ours: FederatingServer, peer: FederationPeer, answer: bytes
) -> None:
    room = peer.room()
    peer.answers["make_join"] = lambda _: web.Response(body=answer, content_type="application/json")
    assert (await failure(ours, room, peer.server_name)).status == 502
    del peer.answers["make_join"]
    peer.answers["send_join"] = lambda _: web.Response(body=answer, content_type="application/json")
    assert (await failure(ours, room, peer.server_name)).status == 502
    assert await nothing_is_stored(ours, room)


async def test_the_same_join_twice_at_once_is_one(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    join = [ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {}) for _ in range(3)]
    await asyncio.gather(*join)
    assert len(peer.asked_for("make_join")) == 1


async def test_two_users_at_once(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    users = [ours.user("bob"), ours.user("carol")]
    await asyncio.gather(*(ours.joins.join(user, room.room_id, [peer.server_name], {}) for user in users))
    assert await ours.members(room.room_id) == sorted([peer.user("alice"), *users])
    sent = await ours.say(room.room_id, users[0], "both here")
    await arrives(sent, room)


async def test_what_comes_while_joining_waits(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    sending: list[asyncio.Task[Any]] = []

    async def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        early = room.say(peer.user("alice"), "welcome")
        sending.append(asyncio.create_task(peer.send(ours.server_name, early)))
        await until(lambda: ours.incoming.running)
        return honest

    peer.answers["send_join"] = answer
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    verdicts = await sending[0]
    assert list(verdicts.values()) == [None]


async def test_coming_back_after_leaving(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room()
    bob = ours.user("bob")
    await ours.joins.join(bob, room.room_id, [peer.server_name], {})
    first = await ours.say(room.room_id, bob, "first")
    left = await ours.timeline.send(room.room_id, Draft(bob, "m.room.member", {"membership": "leave"}, bob))
    await arrives(left, room)
    missed = room.say(peer.user("alice"), "not for us")
    assert list((await peer.send(ours.server_name, missed)).values()) == [
        f"{ours.server_name} is not in the room {room.room_id}"
    ]
    await ours.joins.join(bob, room.room_id, [], {})
    assert bob in await ours.members(room.room_id)
    assert await ours.stored(first) is not None
    again = await ours.say(room.room_id, bob, "again")
    await arrives(again, room)


async def test_what_was_rejected_stays_so_when_the_room_is_joined_again(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, alice, bob, mallory = peer.room(), peer.user("alice"), ours.user("bob"), peer.user("mallory")
    await ours.joins.join(bob, room.room_id, [peer.server_name], {})
    public = [room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    public.append(room.state["m.room.join_rules", ""])
    closed = room.add("m.room.join_rules", alice, {"join_rule": "invite"}, "")
    # Right by the events that it names, wrong by the state before it.
    join = {"membership": "join"}
    sneaked = room.put(room.make("m.room.member", mallory, join, mallory, auth_events=public))
    opened = room.add("m.room.join_rules", alice, {"join_rule": "public"}, "")
    answers = await peer.send(ours.server_name, closed, sneaked, opened)
    assert (answers[sneaked.event_id] or "").startswith("Rejected") and answers[opened.event_id] is None
    left = await ours.timeline.send(room.room_id, Draft(bob, "m.room.member", {"membership": "leave"}, bob))
    await arrives(left, room)
    # The peer's room has it in its state.
    await ours.joins.join(bob, room.room_id, [peer.server_name], {})
    stored = await ours.stored(sneaked.event_id)
    assert stored is not None and stored.status is EventStatus.REJECTED
    assert await ours.members(room.room_id) == sorted([alice, bob])
    said = room.say(mallory, "am I in?")
    assert "Rejected" in ((await peer.send(ours.server_name, said))[said.event_id] or "")
    assert not await violations(ours.database)


async def test_a_restricted_room(ours: FederatingServer, peer: FederationPeer) -> None:
    allow = [{"type": "m.room_membership", "room_id": "!other:elsewhere.test"}]
    room = peer.room("10", join_rules={"join_rule": "restricted", "allow": allow})

    def answer(asked: Asked) -> Any:
        room_id, user_id = asked.path
        content = {"membership": "join", "join_authorised_via_users_server": peer.user("alice")}
        event = peer.rooms[room_id].make("m.room.member", user_id, content, user_id)
        return {"room_version": "10", "event": dict(event.pdu)}

    peer.answers["make_join"] = answer
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    member = await ours.state(room.room_id, "m.room.member", ours.user("bob"))
    assert member is not None and set(member.signatures) == {ours.server_name, peer.server_name}


async def test_a_restricted_join_without_the_authorisers_signature(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room = peer.room("10", join_rules={"join_rule": "restricted", "allow": []})

    def make_join(asked: Asked) -> Any:
        content = {"membership": "join", "join_authorised_via_users_server": peer.user("alice")}
        event = room.make("m.room.member", asked.path[1], content, asked.path[1])
        return {"room_version": "10", "event": dict(event.pdu)}

    def send_join(asked: Asked) -> Any:
        answer: Mapping[str, Any] = peer.honest(asked)
        return {name: value for name, value in answer.items() if name != "event"}

    peer.answers |= {"make_join": make_join, "send_join": send_join}
    assert "not signed as it must be" in (await failure(ours, room, peer.server_name)).message


async def test_a_large_room_is_joined_quickly(ours: FederatingServer, peer: FederationPeer) -> None:
    room = peer.room("10")
    for number in range(1000):
        user = peer.user(f"member{number}")
        room.add("m.room.member", user, {"membership": "join", "displayname": f"Member {number}"}, user)
    started = time.monotonic()
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    taken = time.monotonic() - started
    print(f"joined a room of 1,000 members in {taken:.2f} s")
    assert len(await ours.members(room.room_id)) == 1002
    assert taken < 10  # on a busy machine; alone it is under two seconds
