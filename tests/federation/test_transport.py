"""Requests to other servers: what goes out, what may come back, and how everything that goes wrong is told."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from aiohttp import web

from homeserver.core.signing import key_id_of
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.authentication import parse_authorization, verify_request
from homeserver.federation.errors import FederationError
from homeserver.federation.transport import FederationClient, matrix_path
from tests.federation.world import SUBNET, Peer, World
from tests.support.certificates import Authority

NAME = "matrix.example:8001"
PATH = "/_matrix/federation/v1/thing"


@pytest.fixture
async def peer(world: World) -> Peer:
    """The server matrix.example:8001."""
    world.dns.add("matrix.example", "A", world.address(1))
    peer = await world.peer("matrix.example", port=8001)
    peer.answer("GET", PATH, {"ok": True})
    peer.answer("PUT", PATH, {"ok": True})
    return peer


async def failure(client: FederationClient, name: str = NAME, **options: object) -> FederationError:
    """The error of a GET."""
    with pytest.raises(FederationError) as caught:
        await client.request(name, "GET", PATH, **options)  # type: ignore[arg-type]
    assert caught.value.destination == name
    return caught.value


async def test_requests_are_signed_over_what_is_sent(world: World, peer: Peer) -> None:
    body = {"ü": [1, {"z": None, "a": "é"}]}
    query = [("v", "$a/b:c"), ("v", "ü&="), ("limit", "5")]
    assert await world.client().request(NAME, "PUT", PATH, query=query, body=body) == {"ok": True}
    seen = peer.seen[0]
    assert seen.target == PATH + "?v=%24a%2Fb%3Ac&v=%C3%BC%26%3D&limit=5"
    assert json.loads(seen.body) == body
    assert seen.host == NAME
    header = parse_authorization(seen.authorization[0])
    assert (header.origin, header.destination) == ("ours.example", NAME)
    keys = {key_id_of(world.signing_key): world.signing_key.verify_key}
    verify_request(header, "PUT", seen.target, NAME, json.loads(seen.body), keys)


async def test_a_canonical_body_goes_out_as_it_is(world: World, peer: Peer) -> None:
    await world.client().request(NAME, "PUT", PATH, body=b'{"a":1}')
    assert peer.seen[0].body == b'{"a":1}'


async def test_unsigned_requests_have_no_authorization(world: World, peer: Peer) -> None:
    await world.client().request(NAME, "GET", PATH, signed=False)
    assert peer.seen[0].authorization == ()


async def test_paths_are_encoded() -> None:
    assert matrix_path("_matrix", "x", "!a/b:c?d#e%f é") == "/_matrix/x/%21a%2Fb%3Ac%3Fd%23e%25f%20%C3%A9"
    for segment in ("", ".", ".."):
        with pytest.raises(ValueError, match="segments"):
            matrix_path("_matrix", segment)


async def test_encoded_paths_arrive_untouched(world: World, peer: Peer) -> None:
    path = matrix_path("_matrix", "federation", "v1", "state", "!a/b:c", "$x+y=")
    peer.answer("GET", path, {"ok": True})
    assert await world.client().request(NAME, "GET", path) == {"ok": True}


async def test_connections_are_reused(world: World, peer: Peer) -> None:
    connections = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        connections.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    peer.handle("GET", PATH, note)
    client = world.client()
    for _ in range(5):
        await client.request(NAME, "GET", PATH)
    assert len(connections) == 1


async def test_error_answers(world: World, peer: Peer) -> None:
    peer.answer("GET", PATH, {"errcode": "M_FORBIDDEN", "error": "no", "room_version": "9"}, 403)
    error = await failure(world.client())
    assert (error.stage, error.status, error.errcode) == ("http", 403, "M_FORBIDDEN")
    assert error.body == {"errcode": "M_FORBIDDEN", "error": "no", "room_version": "9"}
    assert error.reason == "answered with status 403 M_FORBIDDEN: no"
    assert not error.unrecognised
    assert not error.temporary


@pytest.mark.parametrize(
    ("status", "body", "unrecognised"),
    [
        (404, {"errcode": "M_UNRECOGNIZED", "error": ""}, True),
        (400, {"errcode": "M_UNRECOGNIZED", "error": ""}, True),
        (405, {"errcode": "M_UNRECOGNIZED", "error": ""}, True),
        (404, "not found", True),
        (404, {"errcode": "M_NOT_FOUND", "error": ""}, False),
        (400, "bad", False),
        (500, {"errcode": "M_UNRECOGNIZED", "error": ""}, False),
    ],
)
async def test_what_counts_as_unrecognised(
    world: World, peer: Peer, status: int, body: object, unrecognised: bool
) -> None:
    peer.answer("GET", PATH, body, status)
    assert (await failure(world.client())).unrecognised is unrecognised


async def test_an_error_page_of_a_proxy(world: World, peer: Peer) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>Bad Gateway</html>")

    peer.handle("GET", PATH, page)
    error = await failure(world.client())
    assert (error.stage, error.status, error.errcode, error.body) == ("http", 502, None, None)
    assert "something in front of the server" in error.reason
    assert error.temporary


async def test_redirects_of_the_api_are_not_followed(world: World, peer: Peer) -> None:
    peer.answer("GET", PATH, {}, 302, Location="https://127.0.0.1/secret")
    error = await failure(world.client())
    assert (error.stage, error.status) == ("http", 302)
    assert "https://127.0.0.1/secret" in error.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'"\\ud800"', "surrogate"),
        (b"[" * 1000 + b"]" * 1000, "nested"),
        (b'"\xff"', "UTF-8"),
        (b"[" + b"1," * 100_000 + b"]", "not JSON"),
    ],
    ids=["empty", "html", "nan", "duplicate", "surrogate", "deep", "latin1", "large"],
)
async def test_what_is_not_json(world: World, peer: Peer, body: bytes, reason: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    peer.handle("GET", PATH, answer)
    error = await failure(world.client())
    assert error.stage == "json"
    assert reason in error.reason


async def test_a_giant_answer_is_stopped_at_the_limit(world: World, peer: Peer) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)
            sent += 65536
            await asyncio.sleep(0)

    peer.handle("GET", PATH, endless)
    error = await failure(world.client(), max_response_bytes=1_000_000)
    assert (error.stage, error.reason) == ("limit", "the answer is larger than 1000000 bytes")
    assert sent < 20_000_000


async def test_an_announced_giant_is_not_read_at_all(world: World, peer: Peer) -> None:
    async def announce(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10**9)})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    peer.handle("GET", PATH, announce)
    assert (await failure(world.client())).stage == "limit"


async def test_a_compression_bomb_is_stopped_at_the_limit(world: World, peer: Peer) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    peer.handle("GET", PATH, answer)
    assert (await failure(world.client(), max_response_bytes=1_000_000)).stage == "limit"


async def test_a_compressed_answer_is_read(world: World, peer: Peer) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b'{"ok":1}'), headers={"Content-Encoding": "gzip"})

    peer.handle("GET", PATH, answer)
    assert await world.client().request(NAME, "GET", PATH) == {"ok": 1}


async def test_an_endless_error_answer_is_stopped(world: World, peer: Peer) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)
            await asyncio.sleep(0)

    peer.handle("GET", PATH, endless)
    error = await failure(world.client())
    assert (error.stage, error.status) == ("http", 500)


async def test_a_peer_that_says_nothing_is_given_up(world: World, peer: Peer) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    peer.handle("GET", PATH, silent)
    error = await failure(world.client(), timeout=0.2)
    assert (error.stage, error.reason) == ("timeout", "no complete answer within 0.2 s")


async def test_a_peer_that_drips_is_given_up(world: World, peer: Peer) -> None:
    dripped = 0

    async def drip(request: web.Request) -> web.StreamResponse:
        nonlocal dripped
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            dripped += 1
            await asyncio.sleep(0.01)

    peer.handle("GET", PATH, drip)
    assert (await failure(world.client(), timeout=0.3)).stage == "timeout"
    assert dripped > 1


async def test_a_connection_that_breaks(world: World, peer: Peer) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return response

    peer.handle("GET", PATH, break_off)
    assert (await failure(world.client())).stage in ("http", "connect")


async def test_nobody_listens(world: World) -> None:
    world.dns.add("matrix.example", "A", world.address(7))
    error = await failure(world.client())
    assert error.stage == "connect"
    assert "matrix.example port 8001" in error.reason


async def test_a_port_that_does_not_speak_tls(world: World) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")

    server = await asyncio.start_server(greet, world.address(8), 8001)
    world.dns.add("matrix.example", "A", world.address(8))
    error = await failure(world.client())
    server.close()
    assert error.stage == "tls"
    assert "is this an HTTPS port?" in error.reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "certificate has expired"),
        ("wrong name", "Hostname mismatch"),
        ("unknown authority", "unable to get local issuer certificate"),
    ],
)
async def test_bad_certificates(world: World, kind: str, reason: str) -> None:
    contexts = {
        "expired": world.authority.server_context("matrix.example", expired=True),
        "wrong name": world.authority.server_context("other.example"),
        "unknown authority": Authority(world.directory, "other").server_context("matrix.example"),
    }
    world.dns.add("matrix.example", "A", world.address(1))
    peer = await world.peer(port=8001, context=contexts[kind])
    peer.answer("GET", PATH, {"ok": True})
    error = await failure(world.client())
    assert error.stage == "tls"
    assert reason in error.reason
    assert not peer.seen, "nothing may be sent before the server has proved who it is"
    assert await world.client(verify_certificates=False).request(NAME, "GET", PATH) == {"ok": True}


async def test_a_missing_authority_file_is_an_error(world: World) -> None:
    with pytest.raises(OSError, match="No such file"):
        world.client(custom_ca_files=(Path("/nonexistent.pem"),))


async def test_the_whitelist(world: World, peer: Peer) -> None:
    client = world.client(domain_whitelist=frozenset({"other.example"}))
    assert (await failure(client)).stage == "blocked"
    assert not peer.seen
    assert not world.dns.queries
    assert await world.client(domain_whitelist=frozenset({NAME})).request(NAME, "GET", PATH)


async def test_we_do_not_ask_ourselves(world: World) -> None:
    assert (await failure(world.client(), "ours.example")).stage == "request"


async def test_a_body_that_has_no_canonical_json(world: World, peer: Peer) -> None:
    with pytest.raises(FederationError) as caught:
        await world.client().request(NAME, "PUT", PATH, body={"a": "\ud800"})
    assert caught.value.stage == "request"


@pytest.mark.parametrize(
    "name", ["127.0.0.1:8001", "[::1]:8001", "[::ffff:127.0.0.1]:8001", "local.example:8001"]
)
async def test_blocked_addresses_are_not_connected_to(world: World, name: str) -> None:
    world.dns.add("local.example", "A", "127.0.0.1", "10.0.0.1")
    error = await failure(world.client(), name)
    assert error.stage == "blocked"
    assert "ip_range_allowlist" in error.reason


async def test_blocked_addresses_of_a_name_are_left_out(world: World, peer: Peer) -> None:
    world.dns.replace("matrix.example", "A", "127.0.0.1", world.address(1))
    world.dns.replace("matrix.example", "AAAA", "::1")
    assert await world.client().request(NAME, "GET", PATH) == {"ok": True}


async def test_an_srv_target_may_be_blocked(world: World) -> None:
    world.dns.add("_matrix-fed._tcp.matrix.example", "SRV", (10, 0, 8001, "local.example"))
    world.dns.add("local.example", "A", "127.0.0.1")
    assert (await failure(world.client(), "matrix.example")).stage == "blocked"


async def test_dns_rebinding_to_loopback_is_blocked(world: World, peer: Peer) -> None:
    """The address that is checked is the one that is connected to, each time anew."""

    async def goodbye(_: web.Request) -> web.Response:
        response = web.json_response({"ok": True})
        response.force_close()
        return response

    peer.handle("GET", PATH, goodbye)
    inside = await world.peer("matrix.example", number=2, port=8001)
    client = world.client(addresses=AddressFilter(allowlist=[f"{SUBNET}.1/32"]))
    assert await client.request(NAME, "GET", PATH) == {"ok": True}
    world.dns.replace("matrix.example", "A", world.address(2))
    assert (await failure(client)).stage == "blocked"
    assert not inside.seen


async def test_every_lookup_is_used_for_its_own_connection_only(world: World, peer: Peer) -> None:
    await world.client().request(NAME, "GET", PATH)
    assert [kind for name, kind in world.dns.queries if name == "matrix.example"].count("A") == 1


async def test_concurrency_to_one_destination_is_limited(world: World, peer: Peer) -> None:
    running = most = 0
    release = asyncio.Event()
    full = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await release.wait()
        running -= 1
        return web.json_response({})

    peer.handle("GET", PATH, wait)
    client = world.client(concurrent_requests=3)
    requests = [asyncio.create_task(client.request(NAME, "GET", PATH)) for _ in range(8)]
    await full.wait()
    late = await failure(client, timeout=0.1)
    assert late.stage == "timeout", "waiting for a slot counts too"
    release.set()
    await asyncio.gather(*requests)
    assert most == 3
    assert len(peer.seen) == 8


async def test_streaming_hands_the_answer_over_unread(world: World, peer: Peer) -> None:
    async def media(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 100_000, content_type="image/png")

    peer.handle("GET", PATH, media)
    async with world.client().stream(NAME, "GET", PATH) as response:
        assert response.content_type == "image/png"
        assert len(await response.content.read()) == 100_000
    with pytest.raises(FederationError) as caught:
        async with world.client().stream(NAME, "GET", "/elsewhere"):
            raise AssertionError
    assert caught.value.errcode == "M_UNRECOGNIZED"


async def test_a_port_that_never_finishes_the_handshake(world: World) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, world.address(8), 8001)
    world.dns.add("matrix.example", "A", world.address(8))
    error = await failure(world.client(connect_timeout=0.2))
    server.close()
    assert error.stage == "connect"
    assert "no TCP and TLS connection in time" in error.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"nonsense\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "garbled"),
        (b"", "the connection was lost"),
    ],
    ids=["no HTTP", "bad chunk", "bad gzip", "nothing"],
)
async def test_servers_that_do_not_speak_http(world: World, answer: bytes, reason: str) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    context = world.authority.server_context("matrix.example")
    server = await asyncio.start_server(respond, world.address(8), 8001, ssl=context)
    world.dns.add("matrix.example", "A", world.address(8))
    error = await failure(world.client())
    server.close()
    assert reason in error.reason


async def test_a_client_can_be_used_as_a_context(world: World, peer: Peer) -> None:
    async with FederationClient("ours.example", world.signing_key, world.settings()) as client:
        assert await client.request(NAME, "GET", PATH, query={"a": "b"}) == {"ok": True}
    assert (await failure(client)).reason == "this server is shutting down"
