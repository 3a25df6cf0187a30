"""Transactions of other servers: the checks on receipt, and the gaps before what is received."""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from homeserver.core.events import Event
from homeserver.core.signing import sign_json
from homeserver.federation.errors import FederationError
from homeserver.storage.events import EventStatus
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, until

Room = PeerRoom


def counted(result: str) -> float:
    """How many PDUs have had this result so far."""
    return REGISTRY.get_sample_value("homeserver_received_pdus_total", {"result": result}) or 0


def with_changes(event: Event, **changes: Any) -> dict[str, Any]:
    """A PDU that somebody changed on its way; a field that is None is taken out."""
    pdu = {**json.loads(event.canonical), **changes}
    return {name: value for name, value in pdu.items() if value is not None}


async def test_each_event_is_answered_by_itself(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    good = room.say(peer.user("alice"), "good")
    forged = room.make("m.room.message", peer.user("alice"), {"body": "forged"}, after=[good.event_id])
    stranger = room.make("m.room.message", peer.user("mallory"), {"body": "not in the room"})
    answers = await peer.send(ours.server_name, good, with_changes(forged, signatures={}), stranger)
    assert answers[good.event_id] is None
    assert answers[forged.event_id] == f"Not accepted: there is no signature of {peer.server_name}"
    assert (answers[stranger.event_id] or "").startswith("Rejected: ")
    assert await ours.stored(forged.event_id) is None
    rejected = await ours.stored(stranger.event_id)
    assert rejected is not None and rejected.status is EventStatus.REJECTED and rejected.reason


async def test_a_repeated_transaction_gets_the_same_answer(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    stranger = room.make("m.room.message", peer.user("mallory"), {"body": "no"})
    first = await peer.send(ours.server_name, stranger, transaction_id="once", edus=[TYPING])
    again = await peer.send(ours.server_name, stranger, transaction_id="once", edus=[TYPING])
    assert first == again and first[stranger.event_id]
    assert len(ours.edus) == 1
    other = await peer.send(ours.server_name, stranger, transaction_id="twice")
    assert other == {stranger.event_id: "Rejected when it was first received"}


TYPING = b'{"content":{"room_id":"!r:x","typing":true,"user_id":"@a:x"},"edu_type":"m.typing"}'


async def test_the_same_transaction_twice_at_once_is_worked_on_once(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    hello = room.say(peer.user("alice"), "hello")
    sends = [peer.send(ours.server_name, hello, transaction_id="same", edus=[TYPING]) for _ in range(3)]
    assert await asyncio.gather(*sends) == [{hello.event_id: None}] * 3
    assert len(ours.edus) == 1


async def raw_send(
    peer: FederationPeer, ours: FederatingServer, body: bytes
) -> FederationError | dict[str, Any]:
    """Send any bytes as a transaction, correctly signed if they can be."""
    try:
        answer: dict[str, Any] = await peer.client.request(
            ours.server_name, "PUT", "/_matrix/federation/v1/send/raw", body=body
        )
    except FederationError as error:
        return error
    return answer


def canonical(value: Any) -> bytes:
    """Canonical JSON of anything, allowed or not."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict).encode()


BODIES = {
    "not JSON": b"{",
    "a list": b"[]",
    "no pdus": b"{}",
    "pdus that are no list": b'{"pdus":{}}',
    "too many PDUs": canonical({"pdus": [{}] * 51}),
    "too many EDUs": canonical({"edus": [{}] * 101, "pdus": []}),
    "deeply nested": b'{"pdus":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}",
    "not UTF-8": b'{"pdus":["\xff"]}',
    "a lone surrogate": b'{"pdus":["\\ud800"]}',
    "a key twice": b'{"pdus":[],"pdus":[]}',
    "not a number": b'{"pdus":[NaN]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_malformed_transactions(ours: FederatingServer, peer: FederationPeer, body: bytes) -> None:
    answer = await raw_send(peer, ours, body)
    assert isinstance(answer, FederationError)
    assert answer.status == 400 and answer.errcode in ("M_NOT_JSON", "M_BAD_JSON")
    assert answer.reason.count(":") and len(answer.reason) > 30  # it says what is wrong


async def test_an_oversized_transaction(ours: FederatingServer, peer: FederationPeer) -> None:
    answer = await raw_send(peer, ours, b'{"pdus":["' + b"x" * 2**25 + b'"]}')
    assert isinstance(answer, FederationError)
    assert answer.status == 413 or answer.stage == "connect"  # cut off while it was still being sent


async def test_a_peer_that_sends_byte_by_byte(ours: FederatingServer, authority: Authority) -> None:
    host, port = ours.server_name.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(authority.path))
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    head = f"PUT /_matrix/federation/v1/send/slow HTTP/1.1\r\nHost: {ours.server_name}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode())

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(20):
            status = await reader.readline()
    finally:
        dripping.cancel()
        writer.close()
    assert b" 408 " in status


async def test_a_request_without_a_signature(ours: FederatingServer, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.path))
    url = f"https://{ours.server_name}/_matrix/federation/v1/send/1"
    async with (
        aiohttp.ClientSession() as session,
        session.put(url, json={"pdus": []}, ssl=context) as response,
    ):
        assert response.status == 401
        assert "Authorization" in (await response.json())["error"]


PDUS: dict[str, tuple[Callable[[Event], Any], str]] = {
    "a string": (lambda _: "not an event", ""),
    "a list": (lambda _: [], ""),
    "null": (lambda _: None, ""),
    "no room": (lambda event: with_changes(event, room_id=None), ""),
    "a room that is none": (lambda event: with_changes(event, room_id="#a:b"), ""),
    "no type": (lambda event: with_changes(event, type=None), "type is missing"),
    "a sender that is no user": (
        lambda event: with_changes(event, sender="bob"),
        "sender 'bob' is not a user ID",
    ),
    "a float": (lambda event: with_changes(event, content={"a": 1.5}), "not canonical JSON"),
    "a huge integer": (lambda event: with_changes(event, content={"a": 2**53}), "not canonical JSON"),
    "a huge depth": (lambda event: with_changes(event, depth=2**63), "depth"),
    "a negative depth": (lambda event: with_changes(event, depth=-1), "depth"),
    "too many prev events": (
        lambda event: with_changes(event, prev_events=[f"${n:043}" for n in range(21)]),
        "prev_events has 21 entries",
    ),
    "too large": (lambda event: with_changes(event, content={"a": "x" * 70_000}), "bytes; at most 65536"),
    "a type that is too long": (lambda event: with_changes(event, type="x" * 256), "at most 255"),
    "signatures that are none": (lambda event: with_changes(event, signatures=[]), "signatures"),
}


@pytest.mark.parametrize(("change", "reason"), PDUS.values(), ids=PDUS.keys())
async def test_malformed_events(
    ours: FederatingServer, peer: FederationPeer, room: Room, change: Callable[[Event], Any], reason: str
) -> None:
    before = counted("bad_format")
    event = room.make("m.room.message", peer.user("alice"), {"body": "malformed"})
    good = room.say(peer.user("alice"), "and one that is not")
    body = {"origin": peer.server_name, "origin_server_ts": 1, "edus": [], "pdus": [change(event), good.pdu]}
    answer = await raw_send(peer, ours, canonical(body))
    assert isinstance(answer, dict), answer
    assert answer["pdus"].pop(good.event_id) == {}
    if reason:
        (told,) = answer["pdus"].values()
        assert reason in told["error"]
    assert counted("bad_format") == before + 1


async def test_a_forged_signature(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    event = room.make("m.room.message", peer.user("alice"), {"body": "x"})
    other = room.make("m.room.message", peer.user("alice"), {"body": "y"})
    before = counted("bad_signature")
    forged = with_changes(event, signatures=other.pdu["signatures"])
    answers = await peer.send(ours.server_name, forged)
    assert "is wrong" in (answers[event.event_id] or "")
    assert counted("bad_signature") == before + 1
    assert await ours.stored(event.event_id) is None


async def test_an_event_of_another_server_with_our_signature_only(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    event = room.make("m.room.message", ours.user("bob"), {"body": "not said by bob"})
    answers = await peer.send(ours.server_name, event)
    assert answers[event.event_id] == f"Not accepted: there is no signature of {ours.server_name}"


async def test_a_key_that_was_not_valid_then(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    # From room version 5 on the key must be valid at the event's time, and no key is for more than seven days.
    event = room.make("m.room.message", peer.user("alice"), {"body": "x"}, origin_server_ts=2**45)
    answers = await peer.send(ours.server_name, event)
    assert "only known to be valid until" in (answers[event.event_id] or "")


async def test_a_wrong_hash(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    event = room.say(peer.user("alice"), "what was said")
    changed = with_changes(event, content={"msgtype": "m.text", "body": "what was made of it"})
    before = counted("redacted")
    assert await peer.send(ours.server_name, changed) == {event.event_id: None}
    assert counted("redacted") == before + 1
    stored = await ours.stored(event.event_id)
    assert stored is not None and stored.event.content == {} and stored.status is EventStatus.ACCEPTED


async def test_wrong_auth_events(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    alice = peer.user("alice")
    state = room.state
    join_rules = state["m.room.join_rules", ""]
    rest = [state["m.room.create", ""], state["m.room.power_levels", ""], state["m.room.member", alice]]
    too_many = room.make("m.room.message", alice, {"body": "x"}, auth_events=[*rest, join_rules])
    without_create = room.make("m.room.message", alice, {"body": "y"}, auth_events=rest[1:])
    without_member = room.make("m.room.message", alice, {"body": "z"}, auth_events=rest[:2])
    answers = await peer.send(ours.server_name, too_many, without_create, without_member)
    assert "has no say over this event" in (answers[too_many.event_id] or "")
    assert "create event is not among the auth events" in (answers[without_create.event_id] or "")
    assert (answers[without_member.event_id] or "").startswith("Rejected: ")


async def test_what_builds_on_a_rejected_event(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    rejected = room.add("m.room.topic", peer.user("mallory"), {"topic": "no"}, "")
    room.state_before[rejected.event_id] = dict(room.state_before[rejected.event_id])
    after = room.make("m.room.message", peer.user("alice"), {"body": "x"})
    answers = await peer.send(ours.server_name, rejected, after)
    assert answers[rejected.event_id] and answers[after.event_id] is None
    assert await ours.state(room.room_id, "m.room.topic") is None


async def test_events_for_rooms_that_we_are_not_in(ours: FederatingServer, peer: FederationPeer) -> None:
    for version in ("1", "10", "12"):
        room = peer.room(version)
        event = room.say(peer.user("alice"), "hello?")
        before = counted("not_in_room")
        answers = await peer.send(ours.server_name, event)
        assert answers == {event.event_id: f"{ours.server_name} is not in the room {room.room_id}"}
        assert counted("not_in_room") == before + 1


async def test_a_server_that_the_acl_denies(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    alice = peer.user("alice")
    acl = room.add("m.room.server_acl", alice, {"allow": ["*"], "deny": ["127.87.*"]}, "")
    assert await peer.send(ours.server_name, acl) == {acl.event_id: None}
    answers = await peer.send(ours.server_name, room.say(alice, "still there?"))
    assert list(answers.values()) == ["the room's server ACL denies this server"]


async def test_an_event_that_evades_a_ban_is_soft_failed(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    alice, mallory = peer.user("alice"), peer.user("mallory")
    joined = room.add("m.room.member", mallory, {"membership": "join"}, mallory)
    ban = room.add("m.room.member", alice, {"membership": "ban"}, mallory)
    evading = room.make(
        "m.room.topic", mallory, {"topic": "from before the ban"}, "", after=[joined.event_id]
    )
    levels = room.make("m.room.message", mallory, {"body": "from before the ban"}, after=[joined.event_id])
    answers = await peer.send(ours.server_name, joined, ban, levels, evading)
    assert answers[levels.event_id] is None  # handled as usual, so the sender is not told
    stored = await ours.stored(levels.event_id)
    assert stored is not None and stored.status is EventStatus.SOFT_FAILED


async def test_missing_events_are_fetched(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    missed = [room.say(peer.user("alice"), f"message {number}") for number in range(60)]
    newest = room.say(peer.user("alice"), "the newest")
    assert await peer.send(ours.server_name, newest) == {newest.event_id: None}
    for event in missed:
        assert await ours.stored(event.event_id) is not None
    assert len(peer.asked_for("get_missing_events")) >= 3  # 20 at a time
    assert not peer.asked_for("state_ids") and not peer.asked_for("state")


async def test_what_several_servers_deliver_is_taken_once(
    ours: FederatingServer, peer: FederationPeer, room: Room, authority: Authority
) -> None:
    alice = peer.user("alice")
    async with FederationPeer(authority, 2) as other:
        zoe = other.user("zoe")
        keys = {"server_name": other.server_name, "signing_key": other.signing_key}
        room.add("m.room.member", zoe, {"membership": "join"}, zoe, **keys)
        room.say(alice, "missed by ours")
        other.rooms[room.room_id] = room
        events = [room.say(alice, f"message {number}") for number in range(5)]
        answers = await asyncio.gather(*(each.send(ours.server_name, *events) for each in (peer, other)))
        assert answers == [dict.fromkeys([event.event_id for event in events])] * 2
        # Nor is any of them news when it comes once more, with a newer one.
        last = room.say(alice, "the last")
        await other.send(ours.server_name, *events, last)
    timeline = (await ours.sync(ours.user("bob")))["rooms"]["join"][room.room_id]["timeline"]["events"]
    shown = [json.loads(bytes(event)).get("content", {}).get("body") for event in timeline]
    assert [text for text in shown if text] == [
        "missed by ours",
        *(f"message {n}" for n in range(5)),
        "the last",
    ]
    came = [each for done in ours.committed for arrival in done.arrivals for each in arrival.events]
    arrivals = [each.event.event_id for each in came]
    assert len(arrivals) == len(set(arrivals))


async def test_a_gap_that_stays(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    alice, carol = peer.user("alice"), peer.user("carol")
    room.add("m.room.member", carol, {"membership": "join"}, carol)
    room.add("m.room.topic", alice, {"topic": "missed"}, "")
    for number in range(5):
        room.say(carol, f"message {number}")
    newest = room.say(carol, "the newest")
    peer.answers["get_missing_events"] = lambda _: {"events": []}
    assert await peer.send(ours.server_name, newest) == {newest.event_id: None}
    assert len(peer.asked_for("state_ids")) == 1
    topic = await ours.state(room.room_id, "m.room.topic")
    assert topic is not None and topic.content["topic"] == "missed"
    assert carol in await ours.members(room.room_id)


async def test_what_one_server_says_of_the_state_does_not_undo_what_we_know(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    alice, carol, mallory = peer.user("alice"), peer.user("carol"), peer.user("mallory")
    came = room.add("m.room.member", mallory, {"membership": "join"}, mallory)
    carols = room.add("m.room.member", carol, {"membership": "join"}, carol)
    ban = room.add("m.room.member", alice, {"membership": "ban"}, mallory)
    await peer.send(ours.server_name, came, carols, ban)
    hidden = room.make("m.room.message", carol, {"body": "never sent"})
    room.put(hidden)
    newest = room.make("m.room.message", carol, {"body": "the newest"}, after=[ban.event_id, hidden.event_id])
    room.put(newest)

    def without_the_ban(asked: Asked) -> Any:
        honest = peer.honest(asked)
        honest["pdu_ids"] = [came.event_id if each == ban.event_id else each for each in honest["pdu_ids"]]
        return honest

    peer.answers |= {"get_missing_events": lambda _: {"events": []}, "state_ids": without_the_ban}
    await peer.send(ours.server_name, newest)
    member = await ours.state(room.room_id, "m.room.member", mallory)
    assert member is not None and member.membership == "ban"


async def test_an_event_of_another_room_cannot_be_in_the_state(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    alice = peer.user("alice")
    other = peer.room("10")
    await ours.joins.join(ours.user("bob"), other.room_id, [peer.server_name], {})
    foreign = other.add("m.room.topic", alice, {"topic": "of another room"}, "")
    await peer.send(ours.server_name, foreign)
    room.say(alice, "missed")
    newest = room.say(alice, "the newest")

    def with_the_foreign(asked: Asked) -> Any:
        honest = peer.honest(asked)
        return {**honest, "pdu_ids": [*honest["pdu_ids"], foreign.event_id]}

    peer.answers |= {"get_missing_events": lambda _: {"events": []}, "state_ids": with_the_foreign}
    await peer.send(ours.server_name, newest)
    assert await ours.stored(newest.event_id) is not None
    assert await ours.state(room.room_id, "m.room.topic", "") is None


async def test_a_server_that_fills_no_gap(ours: FederatingServer, peer: FederationPeer, room: Room) -> None:
    room.say(peer.user("alice"), "missed")
    newest = room.say(peer.user("alice"), "the newest")
    nothing = {
        "get_missing_events": lambda _: {"events": []},
        "state_ids": lambda _: {"pdu_ids": [], "auth_chain_ids": []},
    }
    peer.answers |= nothing
    before = counted("missing_events")
    answers = await peer.send(ours.server_name, newest)
    assert "cannot be had" in (answers[newest.event_id] or "")
    assert counted("missing_events") == before + 1
    assert await ours.stored(newest.event_id) is None


async def test_missing_auth_events_are_fetched(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    alice, carol = peer.user("alice"), peer.user("carol")
    before = room.heads
    # Carol comes and goes on a branch that we are not told of, and an event names that as what allows it.
    coming = room.add("m.room.member", carol, {"membership": "join"}, carol)
    assert coming.event_id
    state = room.state
    auth = [
        state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", carol))
    ]
    orphan = room.make("m.room.message", carol, {"body": "x"}, after=before, auth_events=auth)
    answers = await peer.send(ours.server_name, orphan)
    assert (
        len(peer.asked_for("event_auth")) == 0 or peer.asked_for("event_auth")[0].path[1] == orphan.event_id
    )
    # Its auth events allow it, the state before it does not.
    assert (answers[orphan.event_id] or "").startswith("Rejected: ")
    stored = await ours.stored(coming.event_id)
    assert stored is not None and stored.is_outlier
    assert await peer.send(ours.server_name, room.say(alice, "on we go")) is not None


async def test_a_room_is_worked_on_in_order_and_rooms_at_once(
    ours: FederatingServer, peer: FederationPeer, room: Room
) -> None:
    other = peer.room("11")
    await ours.joins.join(ours.user("bob"), other.room_id, [peer.server_name], {})
    held = asyncio.Event()

    async def hold(asked: Asked) -> Any:
        await held.wait()
        return peer.honest(asked)

    peer.answers["get_missing_events"] = hold
    room.say(peer.user("alice"), "missed")
    late = asyncio.create_task(peer.send(ours.server_name, room.say(peer.user("alice"), "late")))
    await until(lambda: peer.asked_for("get_missing_events"))
    quick = other.say(peer.user("alice"), "quick")
    assert await peer.send(ours.server_name, quick) == {quick.event_id: None}
    assert not late.done()
    held.set()
    assert list((await late).values()) == [None]


async def test_edus(ours: FederatingServer, peer: FederationPeer) -> None:
    edus = [
        TYPING,
        b'{"content":{},"edu_type":"org.example.unheard_of"}',
        b'"no edu"',
        b'{"edu_type":7}',
        TYPING,
    ]
    assert await peer.send(ours.server_name, edus=edus) == {}
    assert [origin for origin, _ in ours.edus] == [peer.server_name] * 2


async def test_a_transaction_id_that_cannot_be_stored(ours: FederatingServer, peer: FederationPeer) -> None:
    with pytest.raises(FederationError) as caught:
        await peer.client.request(
            ours.server_name, "PUT", "/_matrix/federation/v1/send/a%00b", body={"pdus": []}
        )
    assert caught.value.status == 400


async def test_what_we_sign_passes_our_own_checks(ours: FederatingServer, peer: FederationPeer) -> None:
    answer = await peer.client.request(ours.server_name, "GET", "/_matrix/key/v2/server", signed=False)
    assert sign_json(answer, ours.server_name, ours.signing_key)["signatures"] == answer["signatures"]
