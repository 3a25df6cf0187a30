"""The federation tester over HTTP: a report, one word, a page; within limits, and only when it is switched on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homeserver.core.errors import MatrixError
from homeserver.doctor import ProbeSettings
from homeserver.doctor.tester import MOST_WAITING, FederationTester
from homeserver.federation.addresses import AddressFilter
from homeserver.http import Authenticators, build_application
from homeserver.web import ENDPOINTS
from tests.doctor.setup import NAME, Setup
from tests.federation.world import SUBNET, WELL_KNOWN_PORT, World
from tests.support.client import Client, serving


def settings(world: World) -> ProbeSettings:
    addresses = AddressFilter(allowlist=[f"{SUBNET}.0/24"])
    return ProbeSettings(addresses, (world.authority.path,), (world.dns.address,), WELL_KNOWN_PORT)


@asynccontextmanager
async def serving_tester(world: World, *, is_enabled: bool = True) -> AsyncIterator[Client]:
    tester = FederationTester(settings(world), is_enabled=is_enabled)
    endpoints = [each for each in ENDPOINTS if each.handler.__module__.endswith("federation_tester")]
    application = build_application(endpoints, [tester], Authenticators())
    try:
        async with serving(application) as client:
            yield client
    finally:
        await tester.stop()


async def test_a_healthy_server(world: World) -> None:
    setup = Setup(world)
    await setup.start()
    async with serving_tester(world) as client:
        report = (await client.get(f"/api/report?server_name={NAME}")).ok()
        assert report["FederationOK"] is True
        assert {each["level"] for each in report["Explanations"]} <= {"ok", "note"}
        answer = await client.get(f"/api/federation-ok?server_name={NAME}")
        assert (answer.status, answer.content) == (200, b"GOOD")


async def test_a_broken_server(world: World) -> None:
    setup = Setup(world, keys_name="other.example")
    await setup.start()
    async with serving_tester(world) as client:
        assert (await client.get(f"/api/federation-ok?server_name={NAME}")).content == b"BAD"
        page = await client.get(f"/federation-tester?server_name={NAME}")
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/html")
        text = page.content.decode()
        assert "1 problem to mend" in text
        assert "other.example" in text and 'class="problem"' in text


async def test_the_page_asks_for_a_name(world: World) -> None:
    async with serving_tester(world) as client:
        page = await client.get("/federation-tester")
        assert page.status == 200 and b"Server name" in page.content and b"to mend" not in page.content


async def test_what_others_call_themselves_is_text_on_the_page(world: World) -> None:
    setup = Setup(world, keys_name="<script>alert(1)</script>")
    await setup.start()
    async with serving_tester(world) as client:
        page = await client.get(f"/federation-tester?server_name={NAME}")
        assert b"<script>" not in page.content and b"&lt;script&gt;" in page.content


async def test_wrong_names(world: World) -> None:
    async with serving_tester(world) as client:
        (await client.get("/api/report?server_name=https://x")).refused(400, "M_INVALID_PARAM")
        (await client.get("/api/report")).refused(400, "M_MISSING_PARAM")


async def test_nobody_has_switched_it_on(world: World) -> None:
    async with serving_tester(world, is_enabled=False) as client:
        for path in (
            f"/api/report?server_name={NAME}",
            f"/api/federation-ok?server_name={NAME}",
            "/federation-tester",
        ):
            (await client.get(path)).refused(404, "M_UNRECOGNIZED")


async def test_private_addresses_are_not_connected_to(world: World) -> None:
    world.dns.replace(NAME, "A", "127.99.0.1")
    async with serving_tester(world) as client:
        report = (await client.get(f"/api/report?server_name={NAME}")).ok()
    assert report["FederationOK"] is False
    found = {each["code"] for each in report["Explanations"]}
    assert {"dns-private-address", "tcp-blocked"} <= found
    assert report["ConnectionErrors"]["127.99.0.1:8448"]["Message"].startswith("blocked")


async def test_who_asks_for_the_same_shares_the_answer(world: World) -> None:
    setup = Setup(world)
    await setup.start()
    now = 0.0
    tester = FederationTester(settings(world), is_enabled=True, clock=lambda: now)
    first, second = await asyncio.gather(tester.examine(NAME), tester.examine(NAME))
    assert first is second is await tester.examine(NAME)
    now = 61.0
    assert await tester.examine(NAME) is not first


async def test_very_many_at_once_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tester = FederationTester(settings(world), is_enabled=True)
    hold = asyncio.Event()

    async def held(*_: object) -> None:
        await hold.wait()

    monkeypatch.setattr(tester, "_examine", held)
    waiting = [asyncio.create_task(tester.examine(f"s{number}.example")) for number in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(MatrixError) as refused:
        await tester.examine("one-more.example")
    assert refused.value.errcode == "M_LIMIT_EXCEEDED"
    hold.set()
    await asyncio.gather(*waiting)


async def test_a_server_that_lets_every_step_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.doctor.tester.MOST_SECONDS", 0.3)
    setup = Setup(world, hangs_on="/_matrix/federation/v1/version")
    await setup.start()
    async with serving_tester(world) as client:
        (await client.get(f"/api/report?server_name={NAME}")).refused(504, "M_UNKNOWN")
        (await client.get(f"/api/federation-ok?server_name={NAME}")).refused(504, "M_UNKNOWN")
