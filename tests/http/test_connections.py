"""CORS, listeners, rate limits, slow and vanishing clients."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from homeserver.config import RateLimit
from homeserver.http import (
    ACCESS_TOKEN,
    NO_AUTH,
    Authenticators,
    BindingError,
    RateLimiter,
    Request,
    TrustedProxies,
    build_application,
    endpoint,
)

from .support import served


@endpoint("GET", "/_matrix/client/v3/who", auth=NO_AUTH, limit="rc_who")
async def who(request: Request) -> dict[str, Any]:
    return {"address": request.address}


@endpoint("GET", "/_matrix/client/v3/mine", auth=ACCESS_TOKEN, limit="rc_who")
async def mine(request: Request) -> dict[str, Any]:
    return {}


@endpoint("PUT", "/_matrix/client/v3/put", auth=NO_AUTH)
async def put(body: dict[str, Any]) -> dict[str, Any]:
    return body


@endpoint("GET", "/_matrix/federation/v1/version", auth=NO_AUTH)
async def version() -> dict[str, Any]:
    return {}


@endpoint("GET", "/_matrix/federation/v1/openid/userinfo", auth=NO_AUTH)
async def userinfo() -> dict[str, Any]:
    return {}


@endpoint("GET", "/_matrix/key/v2/server", auth=NO_AUTH)
async def keys() -> dict[str, Any]:
    return {}


@endpoint("GET", "/.well-known/matrix/server", auth=NO_AUTH)
async def well_known() -> dict[str, Any]:
    return {}


async def test_cors_on_client_paths() -> None:
    async with served(who, version) as client:
        for answer in (
            await client.get("/_matrix/client/v3/who"),
            await client.get("/_matrix/client/v3/nowhere"),
            await client.post("/_matrix/client/v3/who"),
            await client.request("OPTIONS", "/_matrix/client/v3/who"),
            await client.request("OPTIONS", "/_matrix/client/v3/unknown"),
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            allowed = answer.headers["Access-Control-Allow-Methods"].split(", ")
            assert {"GET", "POST", "PUT", "DELETE", "OPTIONS"} <= set(allowed)
            allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
            assert {"X-Requested-With", "Content-Type", "Authorization"} <= set(allowed)
        assert answer.status == 204
        assert (
            "Access-Control-Allow-Origin" not in (await client.get("/_matrix/federation/v1/version")).headers
        )


async def test_options_does_nothing_else() -> None:
    async with served(mine, limits=RateLimiter({"rc_who": RateLimit(per_second=0, burst_count=1)})) as client:
        for _ in range(5):
            assert (await client.request("OPTIONS", "/_matrix/client/v3/mine")).status == 204
        (await client.with_token("alices").get("/_matrix/client/v3/mine")).ok()


@pytest.mark.parametrize(
    ("resources", "there"),
    [
        (("client",), {"/_matrix/client/v3/who", "/health", "/.well-known/matrix/server"}),
        (
            ("federation",),
            {
                "/_matrix/federation/v1/version",
                "/_matrix/federation/v1/openid/userinfo",
                "/_matrix/key/v2/server",
                "/health",
                "/.well-known/matrix/server",
            },
        ),
        (("keys",), {"/_matrix/key/v2/server", "/health", "/.well-known/matrix/server"}),
        (("openid",), {"/_matrix/federation/v1/openid/userinfo", "/health", "/.well-known/matrix/server"}),
        (("health",), {"/health", "/.well-known/matrix/server"}),
    ],
)
async def test_a_listener_serves_its_resources(resources: tuple[str, ...], there: set[str]) -> None:
    paths = {
        "/_matrix/client/v3/who",
        "/_matrix/federation/v1/version",
        "/_matrix/federation/v1/openid/userinfo",
        "/_matrix/key/v2/server",
        "/health",
        "/.well-known/matrix/server",
    }
    async with served(who, version, userinfo, keys, well_known, resources=resources) as client:
        found = {path for path in paths if (await client.get(path)).status == 200}
        assert found == there
        assert (await client.get("/health")).content == b"OK"


async def test_a_forwarded_address_counts_only_where_the_proxy_is_trusted() -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
    async with served(who) as client:
        answer = await client.get("/_matrix/client/v3/who", headers=headers)
        assert answer.ok() == {"address": "127.0.0.1"}
    async with served(who, proxies=TrustedProxies(["127.0.0.0/8"])) as client:
        # The proxy appends what it has seen; what stands before was sent by the client.
        answer = await client.get("/_matrix/client/v3/who", headers=headers)
        assert answer.ok() == {"address": "192.0.2.7"}
        assert (await client.get("/_matrix/client/v3/who")).ok() == {"address": "127.0.0.1"}


async def test_rate_limits_by_address_and_by_user() -> None:
    now = 0.0
    limits = RateLimiter({"rc_who": RateLimit(per_second=0.5, burst_count=2)}, monotonic=lambda: now)
    async with served(who, mine, limits=limits) as client:
        path = "/_matrix/client/v3/who"
        (await client.get(path)).ok()
        (await client.get(path)).ok()
        answer = await client.get(path)
        assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 2000
        assert answer.headers["Retry-After"] == "2"
        # A user has a bucket of her own, wherever she comes from.
        (await client.with_token("alices").get("/_matrix/client/v3/mine")).ok()
        now = 2.0
        (await client.get(path)).ok()
        (await client.get(path)).refused(429, "M_LIMIT_EXCEEDED")


async def test_an_unknown_limit_stops_the_start() -> None:
    with pytest.raises(BindingError, match="rc_who"):
        build_application(who.endpoints, [], Authenticators(), RateLimiter({}))  # type: ignore[attr-defined]


async def test_a_slow_body_is_given_up() -> None:
    async with served(put, body_timeout=0.05) as client:
        host, port = client.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PUT /_matrix/client/v3/put HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        assert b" 408 " in head
        writer.close()


async def test_a_get_ends_when_its_client_goes_away() -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    @endpoint("GET", "/_matrix/client/v3/sync", auth=NO_AUTH)
    async def sync() -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with served(sync) as client:
        request = asyncio.create_task(client.get("/_matrix/client/v3/sync"))
        await asyncio.wait_for(waiting.wait(), 5)
        request.cancel()
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_post_is_finished_though_its_client_went_away() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    gone = asyncio.Event()

    @endpoint("POST", "/_matrix/client/v3/createRoom", auth=NO_AUTH)
    async def create(request: Request) -> None:
        begun.set()
        await go_on.wait()
        done.set()

    async with served(create) as client:
        host, port = client.base_url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /_matrix/client/v3/createRoom HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await asyncio.wait_for(begun.wait(), 5)

        class Gone(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "client went away" in record.getMessage():
                    gone.set()

        log = logging.getLogger("homeserver.access")
        handler = Gone()
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            writer.close()
            await asyncio.wait_for(gone.wait(), 5)
        finally:
            log.removeHandler(handler)
            log.setLevel(logging.NOTSET)
        assert not done.is_set()
        go_on.set()
        await asyncio.wait_for(done.wait(), 5)


async def test_the_server_stops_at_once_though_clients_wait() -> None:
    waiting = asyncio.Event()

    @endpoint("GET", "/_matrix/client/v3/sync", auth=NO_AUTH)
    async def sync() -> None:
        waiting.set()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with served(sync) as client:
        request = asyncio.create_task(client.get("/_matrix/client/v3/sync"))
        await asyncio.wait_for(waiting.wait(), 5)
        started = loop.time()
    assert loop.time() - started < 2
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


async def test_what_is_not_http_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with served(mine) as client:
        host, port = client.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01\x02\x00\r\n\r\n")
        assert b" 400 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_access_log_hides_tokens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "homeserver.access")
    async with served(mine) as client:
        (await client.get("/_matrix/client/v3/mine?a=1&access_token=alices&b=2")).ok()
    lines = [record.getMessage() for record in caplog.records if record.name == "homeserver.access"]
    assert len(lines) == 1
    assert "alices" not in lines[0] and "a=1&access_token=<redacted>&b=2 -> 200" in lines[0]
    assert "@alice:test" in lines[0]
