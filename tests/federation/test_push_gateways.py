"""Requests to push gateways: what can go wrong, and that it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from homeserver.federation import push_gateways
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.names import Names
from homeserver.federation.push_gateways import PushGatewayError, PushGateways
from tests.support.certificates import Authority
from tests.support.federation_peer import SUBNET, bound_socket, name_of
from tests.support.push_gateway import PATH, PushGateway, gateway

__all__ = ["gateway"]

BODY = {"notification": {"devices": []}}


@asynccontextmanager
async def client(*allowed: str) -> AsyncIterator[PushGateways]:
    """What asks gateways, of blocked addresses only those that are allowed."""
    names = Names(())
    made = PushGateways(names, AddressFilter(allowlist=allowed), "tests")
    try:
        yield made
    finally:
        await made.close()
        await names.close()


async def failure(url: str, *allowed: str) -> str:
    """Why a gateway cannot be told."""
    async with client(*(allowed or (f"{SUBNET}.0/24",))) as asking:
        with pytest.raises(PushGatewayError) as caught:
            await asking.notify(url, BODY)
    return str(caught.value)


async def test_it_is_told_and_answers(gateway: PushGateway) -> None:
    gateway.rejected = ["one", "two"]
    async with client(f"{SUBNET}.0/24") as asking:
        assert await asking.notify(gateway.url, BODY) == ["one", "two"]
        gateway.answer = {}
        assert await asking.notify(gateway.url, BODY) == []
        gateway.answer = {"rejected": ["three", 4, None]}
        assert await asking.notify(gateway.url, BODY) == ["three"]
    assert gateway.told == [BODY["notification"]] * 3


async def test_addresses_that_are_blocked(gateway: PushGateway) -> None:
    reason = await failure(gateway.url, "10.0.0.0/8")
    assert "ip_range_allowlist" in reason and gateway.told == []


async def test_a_certificate_of_nobody(tmp_path: Path, gateway: PushGateway) -> None:
    async with PushGateway(Authority(tmp_path, "of nobody"), 191) as forged:
        assert "certificate" in await failure(forged.url)
        assert forged.told == []


async def test_a_certificate_for_another_name(tmp_path: Path, gateway: PushGateway) -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError("it was told")

    async with other_gateway(tmp_path, never, named=f"{SUBNET}.250") as url:
        assert "certificate" in await failure(url)


async def test_nobody_listens() -> None:
    with bound_socket(192) as listening:
        url = f"https://{name_of(listening)}{PATH}"
    assert name_of_url(url) in await failure(url)


def name_of_url(url: str) -> str:
    return url.split("/")[2].split(":")[0]


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_answers_that_are_errors(gateway: PushGateway, status: int) -> None:
    gateway.status = status
    assert str(status) in await failure(gateway.url)
    assert gateway.refused == 1


async def test_redirects_are_not_followed(tmp_path: Path, gateway: PushGateway) -> None:
    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(gateway.url)

    async with other_gateway(tmp_path, redirect) as url:
        assert "307" in await failure(url)
    assert gateway.told == []


async def test_an_answer_without_end(tmp_path: Path, gateway: PushGateway) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(b"x" * 64 * 1024)
        return response

    async with other_gateway(tmp_path, endless) as url:
        assert "more than" in await failure(url)


async def test_silence(tmp_path: Path, gateway: PushGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_gateways, "TIMEOUT_S", 0.2)
    gateway.hold.clear()
    assert "in time" in await asyncio.wait_for(failure(gateway.url), 10)


@asynccontextmanager
async def other_gateway(
    directory: Path, handler: object, *, named: str = f"{SUBNET}.193"
) -> AsyncIterator[str]:
    """A gateway of the same authority that answers as it likes; its URL. named: for whom its certificate is."""
    context = Authority(directory, "of gateways").server_context(named)
    listening = bound_socket(193)
    application = web.Application()
    application.router.add_post(PATH, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listening, ssl_context=context).start()
    try:
        yield f"https://{name_of(listening)}{PATH}"
    finally:
        await runner.cleanup()
