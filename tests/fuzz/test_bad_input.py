"""Bad input to the whole server, over HTTP: a clear error for the sender, a reason that is logged and counted, nothing
half-written, and the server goes on.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from homeserver.core.events import Event
from homeserver.federation.authentication import authorization_header
from homeserver.federation.own_keys import OwnKeys, server_keys
from homeserver.services import joins
from homeserver.services.clock import now_ms
from tests.support.client import Answer, Client
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom
from tests.support.memory import peak, reset_peak
from tests.support.whole import V3, WholeServer, compact, create_room, history, membership, say, send_path

from .nonsense import deep

MEMORY_LIMIT = 400 << 20
"""How much more memory a gigabyte as an answer may cost: the 150 MiB that a join may have, twice while it is put together."""


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The reasons are at INFO."""
    caplog.set_level("INFO")


def counted(name: str, **labels: str) -> float:
    """A counter's value."""
    return REGISTRY.get_sample_value(f"homeserver_{name}_total", labels) or 0


@contextmanager
def counting(name: str, times: int, **labels: str) -> Iterator[None]:
    """A counter that must go up so often meanwhile."""
    before = counted(name, **labels)
    yield
    assert counted(name, **labels) == before + times, (name, labels)


@asynccontextmanager
async def writing_nothing(ours: WholeServer, client: Client, *but: str) -> AsyncIterator[None]:
    """No table gets a row meanwhile, but for these; and the next request is answered."""
    before = await ours.row_counts()
    yield
    after = await ours.row_counts()
    changed = {table for table in before if before[table] != after[table]}
    assert changed <= set(but), {table: (before[table], after[table]) for table in changed}
    assert await ours.violations() == []
    (await client.get(f"{V3}/sync")).ok()


# --- clients


LARGE = 5 << 20
BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "M_NOT_JSON"),
    "no JSON": (b"{", 400, "M_NOT_JSON"),
    "not UTF-8": (b'{"body":"\xff"}', 400, "M_NOT_JSON"),
    "a lone surrogate": (b'{"body":"\\ud800"}', 400, "M_NOT_JSON"),
    "a key twice": (b'{"body":"a","body":"b"}', 400, "M_NOT_JSON"),
    "no number": (b'{"n":NaN}', 400, "M_NOT_JSON"),
    "no object": (b"[]", 400, "M_BAD_JSON"),
    "deeply nested": (b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "M_NOT_JSON"),
    "nested beyond the limit": (b'{"n":' + compact(deep(300)) + b"}", 400, "M_NOT_JSON"),
    "oversized": (b'{"body":"' + b"x" * LARGE + b'"}', 413, "M_TOO_LARGE"),
    "an event that is too large": (
        b'{"msgtype":"m.text","body":"' + b"x" * 70_000 + b'"}',
        413,
        "M_TOO_LARGE",
    ),
    "a float": (b'{"msgtype":"m.text","body":"","n":1.5}', 400, "M_BAD_JSON"),
    "a huge integer": (b'{"msgtype":"m.text","body":"","n":9007199254740992}', 400, "M_BAD_JSON"),
    "an enormous integer": (b'{"msgtype":"m.text","body":"","n":1' + b"0" * 4_000 + b"}", 400, "M_BAD_JSON"),
}


async def test_bodies_of_clients(ours: WholeServer, caplog: pytest.LogCaptureFixture) -> None:
    alice = await ours.register("alice")
    room_id = await create_room(alice)
    state = f"{V3}/rooms/{quote(room_id)}/state/org.example/"
    for name, (content, status, errcode) in BODIES.items():
        async with writing_nothing(ours, alice):
            with counting("http_refusals", 2, resource="client", errcode=errcode):
                for target in (send_path(room_id), state):
                    answer = await alice.request("PUT", target, content=content)
                    assert (answer.status, answer.errcode) == (status, errcode), (name, answer.content)
                    assert len(answer.body["error"]) > 15, (name, answer.content)
                    assert f"{status} in" in caplog.messages[-1] and f": {errcode} " in caplog.messages[-1]


async def test_what_a_room_cannot_be_made_of(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    for content in (1.5, 2**53, 10**400, deep(300), "\ud800", "x" * 70_000):
        for body in (
            {"initial_state": [{"type": "a", "content": {"n": content}}]},
            {"creation_content": {"n": content}},
            {"power_level_content_override": {"n": content}},
        ):
            async with writing_nothing(ours, alice):
                answer = await alice.post(f"{V3}/createRoom", body)
                assert answer.status in (400, 413), (body, answer.content)
                assert answer.errcode in ("M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE"), answer.content


async def test_what_is_nested_too_deep_for_other_servers_is_refused(
    ours: WholeServer, peer: FederationPeer
) -> None:
    """An event is wrapped in the answers and transactions of servers, which have a limit too: ours of all."""
    alice, room = await joined(ours, peer)
    statuses = []
    for levels in range(170, 201):
        answer = await alice.put(send_path(room.room_id, event_type="org.example"), {"n": deep(levels - 2)})
        statuses.append(answer.status)
        if answer.status == 200:
            for path in (
                f"event/{quote(answer.body['event_id'])}",
                f"backfill/{room.room_id}?limit=1&v={quote(answer.body['event_id'])}",
            ):
                await peer.client.request(ours.server_name, "GET", f"/_matrix/federation/v1/{path}")
        else:
            answer.refused(400, "M_NOT_JSON")
    assert set(statuses) == {200, 400}


# --- requests of servers


async def signed(
    peer: FederationPeer, ours: WholeServer, body: bytes, *, destination: str | None = None, **changes: Any
) -> Answer:
    """A transaction with a signature over `body`, or over what `changes` says."""
    target = "/_matrix/federation/v1/send/bad"
    header = authorization_header(
        "PUT",
        changes.get("target", target),
        peer.server_name,
        destination or ours.server_name,
        changes.get("content", body),
        peer.signing_key,
    )
    return await ours.client.request("PUT", target, content=body, headers={"Authorization": header})


EMPTY = b'{"edus":[],"pdus":[]}'


async def test_requests_that_are_not_signed_as_they_should(
    ours: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await ours.register("alice")
    (await signed(peer, ours, EMPTY)).ok()  # so that the peer's keys are there
    none = ours.client.request("PUT", "/_matrix/federation/v1/send/bad", content=EMPTY)
    for reason, request in (
        ("no Authorization header", none),
        ("does not fit the request", signed(peer, ours, EMPTY, content=b"{}")),
        ("does not fit the request", signed(peer, ours, EMPTY, target="/_matrix/federation/v1/send/other")),
        ("is signed for 'elsewhere.test'", signed(peer, ours, EMPTY, destination="elsewhere.test")),
    ):
        async with writing_nothing(ours, alice):
            with counting("http_refusals", 1, resource="federation", errcode="M_UNAUTHORIZED"):
                answer = await request
        assert reason in answer.refused(401, "M_UNAUTHORIZED")["error"]
        assert any(reason in message and "M_UNAUTHORIZED" in message for message in caplog.messages), reason


async def test_a_server_whose_key_has_expired(ours: WholeServer, peer: FederationPeer) -> None:
    alice = await ours.register("alice")
    own = OwnKeys(peer.server_name, [peer.signing_key])
    peer.answers["keys"] = lambda _: server_keys(own, now_ms() - 30 * 86_400_000)
    async with writing_nothing(ours, alice, "server_keys", "server_key_responses"):
        with counting("http_refusals", 1, resource="federation", errcode="M_UNAUTHORIZED"):
            (await signed(peer, ours, EMPTY)).refused(401, "M_UNAUTHORIZED")


async def test_transactions_that_are_none(ours: WholeServer, peer: FederationPeer) -> None:
    alice = await ours.register("alice")
    (await signed(peer, ours, EMPTY)).ok()
    bodies = {
        b"{": "M_NOT_JSON",
        b"\xff": "M_NOT_JSON",
        b'{"pdus":' + b"[" * 100_000: "M_NOT_JSON",
        b'{"edus":[],"pdus":' + compact(deep(300)) + b"}": "M_NOT_JSON",
        b"[]": "M_BAD_JSON",
        b'{"pdus":{}}': "M_BAD_JSON",
        compact({"pdus": [{}] * 51}): "M_BAD_JSON",
    }
    for body, errcode in bodies.items():
        async with writing_nothing(ours, alice):
            with counting("http_refusals", 1, resource="federation", errcode=errcode):
                (await signed(peer, ours, body)).refused(400, errcode)
    async with writing_nothing(ours, alice):
        with counting("http_refusals", 1, resource="federation", errcode="M_TOO_LARGE"):
            (await signed(peer, ours, b'{"pdus":["' + b"x" * (1 << 25) + b'"]}')).refused(413, "M_TOO_LARGE")


# --- events of servers


async def joined(ours: WholeServer, peer: FederationPeer) -> tuple[Client, PeerRoom]:
    """alice of ours in a room of the peer."""
    alice = await ours.register("alice")
    room = peer.room("10")
    (await alice.post(f"{V3}/join/{quote(room.room_id)}?server_name={peer.server_name}")).ok()
    return alice, room


def changed(event: Event, **changes: Any) -> dict[str, Any]:
    """An event that somebody changed on its way."""
    return {**json.loads(event.canonical), **changes}


Change = Callable[[Event], dict[str, Any]]
DROPPED: dict[str, tuple[Change, str, str]] = {
    "no signature": (lambda event: changed(event, signatures={}), "bad_signature", "no signature"),
    "a forged signature": (
        lambda event: changed(event, depth=event.depth + 1),
        "bad_signature",
        "is wrong",
    ),
    "a float": (lambda event: changed(event, content={"n": 1.5}), "bad_format", "not canonical JSON"),
    "a huge integer": (
        lambda event: changed(event, content={"n": 2**53}),
        "bad_format",
        "not canonical JSON",
    ),
    "a huge depth": (lambda event: changed(event, depth=2**64), "bad_format", "depth"),
    "too large": (lambda event: changed(event, content={"n": "x" * 70_000}), "bad_format", "at most 65536"),
}


@pytest.mark.parametrize(("change", "result", "reason"), DROPPED.values(), ids=DROPPED.keys())
async def test_events_that_are_dropped(
    ours: WholeServer,
    peer: FederationPeer,
    change: Change,
    result: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alice, room = await joined(ours, peer)
    event = room.make("m.room.message", peer.user("alice"), {"body": "what was said"})
    body = compact({"edus": [], "pdus": [change(event)]})
    async with writing_nothing(ours, alice, "inbound_transactions"):
        with counting("received_pdus", 1, result=result):
            (answer,) = (await signed(peer, ours, body)).ok()["pdus"].values()
    assert reason in answer["error"], answer
    assert any(message.startswith("dropped ") and reason in message for message in caplog.messages)


async def test_an_event_from_beyond_the_validity_of_its_key(ours: WholeServer, peer: FederationPeer) -> None:
    alice, room = await joined(ours, peer)
    late = room.make("m.room.message", peer.user("alice"), {"body": "x"}, origin_server_ts=2**45)
    async with writing_nothing(ours, alice, "inbound_transactions"):
        with counting("received_pdus", 1, result="bad_signature"):
            answers = await peer.send(ours.server_name, late)
    assert "only known to be valid until" in (answers[late.event_id] or "")


async def test_an_event_with_a_wrong_hash_is_redacted_and_kept(
    ours: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice, room = await joined(ours, peer)
    event = room.say(peer.user("alice"), "what was said")
    with counting("received_pdus", 1, result="redacted"):
        answers = await peer.send(ours.server_name, changed(event, content={"body": "what was made of it"}))
    assert answers == {event.event_id: None}
    shown = next(each for each in await history(alice, room.room_id) if each["event_id"] == event.event_id)
    assert shown["content"] == {}
    assert any("wrong content hash" in message for message in caplog.messages)
    assert await ours.violations() == []
    # The true event is the same event: what it said stays out.
    assert await peer.send(ours.server_name, event) == {event.event_id: None}
    # And the room goes on from it.
    following = room.say(peer.user("alice"), "and more")
    assert await peer.send(ours.server_name, following) == {following.event_id: None}


async def test_wrong_auth_events(
    ours: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice, room = await joined(ours, peer)
    state = room.state
    sent = [
        room.make("m.room.message", peer.user("alice"), {"body": str(number)}, auth_events=auth_events)
        for number, auth_events in enumerate(
            (
                [],
                [state["m.room.create", ""]],
                [state["m.room.create", ""]] * 2,
                [*[*state.values()][:4], room.heads[0]],
                [state["m.room.power_levels", ""], state["m.room.member", peer.user("alice")]],
            )
        )
    ]
    with counting("received_pdus", len(sent), result="rejected"):
        async with writing_nothing(ours, alice, "events", "inbound_transactions"):
            answers = await peer.send(ours.server_name, *sent)
    assert all((answer or "").startswith("Rejected: ") for answer in answers.values()), answers
    shown = {each["event_id"] for each in await history(alice, room.room_id)}
    assert shown.isdisjoint(answers)
    assert len([message for message in caplog.messages if message.startswith("rejected ")]) == len(sent)


async def test_events_for_rooms_we_are_not_in(
    ours: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture
) -> None:
    alice, left = await joined(ours, peer)
    (await membership(alice, left.room_id, "leave")).ok()
    for room in (left, peer.room("10"), peer.room("12")):
        event = room.say(peer.user("alice"), "is anybody here?")
        with counting("received_pdus", 1, result="not_in_room"):
            async with writing_nothing(ours, alice, "inbound_transactions", "outbox", "destinations"):
                answers = await peer.send(ours.server_name, event)
        assert "is not in the room" in (answers[event.event_id] or "")
        assert any("is not in the room" in message for message in caplog.messages)


# --- what other servers answer us


async def refused_join(ours: WholeServer, alice: Client, room: PeerRoom, *but: str) -> str:
    """A join that fails, and leaves nothing; what the client is told."""
    async with writing_nothing(ours, alice, "server_keys", "server_key_responses", *but):
        with counting("http_refusals", 1, resource="client", errcode="M_UNKNOWN"):
            answer = await alice.post(f"{V3}/join/{quote(room.room_id)}?server_name={room.peer.server_name}")
    told: str = answer.refused(502, "M_UNKNOWN")["error"]
    return told


async def test_a_gigabyte_as_the_answer_to_send_join(
    ours: WholeServer,
    peer: FederationPeer,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    alice = await ours.register("alice")
    room = peer.room()
    sent = 0
    megabyte = b"x" * (1 << 20) + b'", "'

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"state": ["'
        for _ in range(1024):
            sent += 1
            yield megabyte

    peer.answers["send_join"] = lambda _: web.Response(body=endless(), content_type="application/json")
    before = reset_peak()
    told = await refused_join(ours, alice, room)
    grown = peak() - before
    assert "send_join: the answer is larger than" in told
    assert any("could not join" in message and "larger than" in message for message in caplog.messages)
    assert sent < 400 and grown < MEMORY_LIMIT
    record_property("figure", f"a gigabyte as an answer: {sent} MB read, {grown >> 20} MiB of memory")


async def test_a_server_that_answers_byte_by_byte(
    ours: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "MAKE_JOIN_TIMEOUT_S", 0.5)
    alice = await ours.register("alice")
    room = peer.room()
    hung_up = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b" "
                await asyncio.sleep(0.02)
        finally:
            hung_up.set()

    peer.answers["make_join"] = lambda _: web.Response(body=slowly(), content_type="application/json")
    assert "no answer within" in await refused_join(ours, alice, room)
    assert any("could not join" in message and "no answer within" in message for message in caplog.messages)
    async with asyncio.timeout(10):
        await hung_up.wait()  # the connection is not left open


async def test_a_server_that_sends_byte_by_byte_delays_nobody(
    ours: WholeServer, peer: FederationPeer
) -> None:
    host, port = ours.server_name.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(peer.authority.path))
    slow = [await asyncio.open_connection(host, int(port), ssl=context) for _ in range(20)]
    for _, writer in slow:
        writer.write(
            b"PUT /_matrix/federation/v1/send/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx"
        )
    try:
        (await signed(peer, ours, EMPTY)).ok()
        alice = await ours.register("alice")
        await say(alice, await create_room(alice), "hello")
    finally:
        for _, writer in slow:
            writer.transport.abort()


TEMPLATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another type": lambda event: event.update(type="m.room.power_levels", content={"users": {}}),
    "another sender": lambda event: event.update(sender="@root:elsewhere.test"),
    "another user": lambda event: event.update(state_key="@root:elsewhere.test"),
    "another room": lambda event: event.update(room_id="!other:elsewhere.test"),
    "a ban": lambda event: event["content"].update(membership="ban"),
}


@pytest.mark.parametrize("change", TEMPLATES.values(), ids=TEMPLATES.keys())
async def test_a_template_that_asks_us_to_sign_something_else(
    ours: WholeServer,
    peer: FederationPeer,
    change: Callable[[dict[str, Any]], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    alice = await ours.register("alice")
    room = peer.room()

    def answer(asked: Asked) -> Any:
        honest = peer.honest(asked)
        change(honest["event"])
        return honest

    peer.answers["make_join"] = answer
    assert "make_join: " in await refused_join(ours, alice, room)
    assert peer.asked_for("send_join") == []
    assert any("could not join" in message for message in caplog.messages)


async def test_a_bound_identifier_of_nobody(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    for user_id in (
        "",
        "a\0b",
        "alice",
        "@:",
        "@nobody:elsewhere.test",
        ours.user_id("nobody"),
        ours.user_id("a\0b"),
    ):
        async with writing_nothing(ours, alice):
            body = {"medium": "email", "address": "a@b.test", "mxid": user_id, "invites": []}
            answer = await ours.client.put("/_matrix/federation/v1/3pid/onbind", body)
        answer.refused(400, "M_INVALID_PARAM")
