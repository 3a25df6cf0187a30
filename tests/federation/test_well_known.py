"""`/.well-known/matrix/server`: answers, caching, redirects, limits."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from homeserver.federation.discovery import Step
from homeserver.federation.well_known import WellKnownCache, lifetime, parse_well_known, well_known_url
from tests.federation.world import WELL_KNOWN_PORT, World

PATH = "/.well-known/matrix/server"
NOW = 1_700_000_000.0
HOUR = 3600.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 24 * HOUR),
        ({"Cache-Control": "max-age=7200"}, 7200),
        ({"cache-control": 'public, Max-Age="7200"'}, 7200),
        ({"Cache-Control": "max-age=9999999"}, 48 * HOUR),
        ({"Cache-Control": "max-age=1"}, 300),
        ({"Cache-Control": "no-store"}, 300),
        ({"Cache-Control": "no-cache, max-age=7200"}, 300),
        ({"Cache-Control": "max-age=-5"}, 300),
        ({"Cache-Control": "max-age=7200", "Expires": "0"}, 7200),
        ({"Expires": "Wed, 15 Nov 2023 00:13:20 GMT"}, 2 * HOUR),
        ({"Expires": "Tue, 14 Nov 2023 00:00:00 GMT"}, 300),
        ({"Expires": "0"}, 300),
    ],
)
def test_lifetime(headers: dict[str, str], seconds: float) -> None:
    assert lifetime(headers, NOW) == seconds


def test_where_it_is() -> None:
    assert well_known_url("example.org") == "https://example.org/.well-known/matrix/server"
    assert well_known_url("example.org", 4430) == "https://example.org:4430/.well-known/matrix/server"
    assert well_known_url("2001:db8::1", name="client") == "https://[2001:db8::1]/.well-known/matrix/client"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"m.server": 5}',
        b'{"m.server": ""}',
        b'{"m.server": "https://matrix.example"}',
        b'{"m.server": "matrix.example:99999"}',
        b'{"m.server": "a", "m.server": "b"}',
    ],
)
def test_invalid_answers(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_well_known(body)


def test_temporary_failures_back_off_to_an_hour() -> None:
    cache, now, waits = WellKnownCache(), NOW, []
    for _ in range(8):
        cache.fail("matrix.example", "refused", now, temporary=True)
        waits.append(cache.expires_at("matrix.example") - now)
        now = cache.expires_at("matrix.example")
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    cache.succeed("matrix.example", "host.example", {}, now)
    cache.fail("matrix.example", "refused", now + 49 * HOUR, temporary=True)
    assert cache.expires_at("matrix.example") == now + 49 * HOUR + 60


def test_a_definite_no_is_kept_for_an_hour() -> None:
    cache = WellKnownCache()
    cache.fail("matrix.example", "404", NOW, temporary=False)
    assert cache.get("matrix.example", NOW + HOUR - 1) is not None
    assert cache.get("matrix.example", NOW + HOUR) is None


def test_a_delegation_survives_a_temporary_failure_up_to_48_hours() -> None:
    cache = WellKnownCache()
    cache.succeed("matrix.example", "host.example", {"Cache-Control": "max-age=3600"}, NOW)
    assert cache.fail("matrix.example", "502", NOW + HOUR, temporary=True).delegated == "host.example"
    assert cache.fail("matrix.example", "502", NOW + 47 * HOUR, temporary=True).delegated == "host.example"
    assert cache.fail("matrix.example", "502", NOW + 48 * HOUR, temporary=True).delegated is None
    cache.succeed("matrix.example", "host.example", {}, NOW)
    assert cache.fail("matrix.example", "404", NOW + HOUR, temporary=False).delegated is None


def test_the_cache_is_bounded() -> None:
    cache = WellKnownCache(capacity=2)
    for name in ("a", "b", "c"):
        cache.succeed(name, "host.example", {}, NOW)
    assert cache.get("a", NOW) is None
    assert cache.get("c", NOW) is not None


async def step_3(world: World, hostname: str = "matrix.example") -> Step:
    """What a new client finds at the .well-known."""
    destination = await world.client().locator.locate(hostname)
    assert destination.steps[0].section == "3"
    return destination.steps[0]


async def test_an_answer_is_cached_as_long_as_its_headers_say(world: World) -> None:
    server = await world.well_known("matrix.example", "one.example:1", **{"Cache-Control": "max-age=3600"})
    client = world.client()
    assert (await client.locator.locate("matrix.example")).host_header == "one.example:1"
    server.answer("GET", PATH, {"m.server": "two.example:2"})
    world.now += 3599
    assert (await client.locator.locate("matrix.example")).host_header == "one.example:1"
    assert len(server.seen) == 1
    world.now += 2
    assert (await client.locator.locate("matrix.example")).host_header == "two.example:2"


async def test_an_error_is_cached_too(world: World) -> None:
    server = await world.well_known("matrix.example", "one.example:1")
    server.routes.clear()
    client = world.client()
    assert (await client.locator.locate("matrix.example")).host_header == "matrix.example"
    server.answer("GET", PATH, {"m.server": "one.example:1"})
    world.now += 3599
    assert (await client.locator.locate("matrix.example")).host_header == "matrix.example"
    world.now += 2
    assert (await client.locator.locate("matrix.example")).host_header == "one.example:1"


async def test_a_destination_that_fails_is_found_anew(world: World) -> None:
    """Somebody corrects a wrong .well-known: it need not take a day until we notice."""
    server = await world.well_known("matrix.example", "one.example:1")
    client = world.client()
    await client.locator.locate("matrix.example")
    server.answer("GET", PATH, {"m.server": "two.example:2"})
    client.locator.forget("matrix.example")
    assert (await client.locator.locate("matrix.example")).host_header == "one.example:1"
    world.now += 601
    client.locator.forget("matrix.example")
    assert (await client.locator.locate("matrix.example")).host_header == "two.example:2"


async def test_the_content_type_does_not_matter(world: World) -> None:
    server = await world.well_known("matrix.example", None)

    async def as_text(_: web.Request) -> web.Response:
        return web.Response(text='{"m.server": "host.example:1"}', content_type="text/html")

    server.handle("GET", PATH, as_text)
    assert "host.example:1" in (await step_3(world)).outcome


async def test_a_large_answer_is_not_read(world: World) -> None:
    server = await world.well_known("matrix.example", None)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 10_000)
            await asyncio.sleep(0)

    server.handle("GET", PATH, endless)
    assert "larger than 51200 bytes" in (await step_3(world)).outcome


async def test_redirects_are_followed(world: World) -> None:
    first = await world.well_known("matrix.example", None, number=10)
    second = await world.well_known("www.example", "host.example:1", number=11)
    first.answer("GET", PATH, {}, 302, Location=f"https://www.example:{WELL_KNOWN_PORT}/there")
    second.answer("GET", "/there", {}, 308, Location=PATH)
    assert "host.example:1" in (await step_3(world)).outcome
    assert [seen.target for seen in second.seen] == ["/there", PATH]


async def test_a_redirect_loop_ends(world: World) -> None:
    server = await world.well_known("matrix.example", None)
    server.answer("GET", PATH, {}, 302, Location="/a")
    server.answer("GET", "/a", {}, 302, Location="/b")
    server.answer("GET", "/b", {}, 302, Location="/a")
    assert "loop" in (await step_3(world)).outcome
    assert len(server.seen) == 3


async def test_many_redirects_end(world: World) -> None:
    server = await world.well_known("matrix.example", None)

    async def onward(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.path + "x"})

    for length in range(20):
        server.handle("GET", PATH + "x" * length, onward)
    assert "too often" in (await step_3(world)).outcome
    assert len(server.seen) == 6


async def test_a_redirect_to_plain_http_is_not_followed(world: World) -> None:
    server = await world.well_known("matrix.example", None)
    server.answer("GET", PATH, {}, 302, Location=f"http://{world.address(99)}/")
    assert "not HTTPS" in (await step_3(world)).outcome


@pytest.mark.parametrize(
    "target",
    ["https://127.0.0.1:{port}/", "https://[::ffff:127.0.0.1]:{port}/", "https://evil.example:{port}/"],
)
async def test_a_redirect_to_a_blocked_address_is_not_followed(world: World, target: str) -> None:
    connections = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    inside = await asyncio.start_server(count, "127.0.0.1", 0)
    port = inside.sockets[0].getsockname()[1]
    world.dns.add("evil.example", "A", "127.0.0.1")
    server = await world.well_known("matrix.example", None)
    server.answer("GET", PATH, {}, 302, Location=target.format(port=port))
    outcome = (await step_3(world)).outcome
    inside.close()
    assert "does not connect to" in outcome
    assert connections == 0


@pytest.mark.parametrize("kind", ["expired", "wrong name", "unknown authority"])
async def test_the_certificate_must_be_valid(world: World, kind: str) -> None:
    from tests.support.certificates import Authority

    contexts = {
        "expired": world.authority.server_context("matrix.example", expired=True),
        "wrong name": world.authority.server_context("other.example"),
        "unknown authority": Authority(world.directory, "other").server_context("matrix.example"),
    }
    world.dns.add("matrix.example", "A", world.address(5))
    server = await world.peer(number=5, port=WELL_KNOWN_PORT, context=contexts[kind])
    server.answer("GET", PATH, {"m.server": "host.example:1"})
    assert "certificate" in (await step_3(world)).outcome
    assert not server.seen
    if kind == "wrong name":
        unverified = world.client(verify_certificates=False)
        assert (await unverified.locator.locate("matrix.example")).host_header == "host.example:1"


async def test_a_web_server_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await world.well_known("matrix.example", None)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("GET", PATH, silent)
    monkeypatch.setattr("homeserver.federation.locator.WELL_KNOWN_TIMEOUT", 0.2)
    assert "no complete answer" in (await step_3(world)).outcome


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_server_error_is_soon_asked_again(world: World, status: int) -> None:
    server = await world.well_known("matrix.example", None)
    server.answer("GET", PATH, {}, status)
    client = world.client()
    assert (await client.locator.locate("matrix.example")).host_header == "matrix.example"
    server.answer("GET", PATH, {"m.server": "host.example:1"})
    world.now += 61
    assert (await client.locator.locate("matrix.example")).host_header == "host.example:1"


async def test_an_invalid_answer_and_a_redirect_to_nowhere(world: World) -> None:
    server = await world.well_known("matrix.example", "not a name")
    assert "m.server is not a server name" in (await step_3(world)).outcome
    server.answer("GET", PATH, {}, 302)
    assert "without a Location" in (await step_3(world)).outcome
