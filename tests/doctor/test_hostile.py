"""Servers that mean the doctor ill: whatever they answer, it ends in time, holds little memory and says something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from rich.console import Console

from homeserver.cli.doctor import print_examination
from homeserver.doctor import probes
from tests.doctor.chains import JUNK, Maker
from tests.doctor.setup import CORS, Setup, bad
from tests.federation.world import World
from tests.support.memory import peak, reset_peak

MEBIBYTE = bytes(2**20)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(probes, "CONNECT_SECONDS", 1.0)


async def drops() -> AsyncIterator[bytes]:
    """A byte now and then, without an end."""
    while True:
        yield b" "
        await asyncio.sleep(0.05)


async def much() -> AsyncIterator[bytes]:
    """More than anybody wants to hold."""
    for _ in range(100):
        yield MEBIBYTE


async def begun() -> AsyncIterator[bytes]:
    """A beginning alone."""
    yield b'{"server":'
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("stream", "code"), [(drops, "http-timeout"), (begun, "http-timeout"), (much, "http-not-matrix")]
)
async def test_answers_without_an_end(
    world: World, stream: Callable[[], AsyncIterator[bytes]], code: str
) -> None:
    setup = Setup(world, own=False)
    await setup.start()
    assert setup.web is not None and setup.matrix is not None

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=stream(), content_type="application/json", headers=CORS)

    setup.matrix.everything = answer
    for path in ("/.well-known/matrix/server", "/.well-known/matrix/client"):
        setup.web.handle("GET", path, answer)
    before, started = reset_peak(), time.monotonic()
    examination = await setup.examine()
    assert code in bad(examination), examination.findings
    assert time.monotonic() - started < 20
    assert peak() - before < 64 * 2**20


async def test_fifty_redirects(world: World) -> None:
    setup = Setup(world, own=False)
    await setup.start()
    assert setup.web is not None
    asked = 0

    async def onwards(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=302, headers={"Location": f"{request.path}?{asked}"})

    setup.web.handle("GET", "/.well-known/matrix/server", onwards)
    assert bad(await setup.examine()).keys() == {"well-known-redirect-loop"}
    assert asked < 50


async def test_a_port_that_says_nothing(world: World) -> None:
    setup = Setup(world, own=False)
    await setup.start_web()
    server = await asyncio.start_server(lambda *_: asyncio.sleep(60), world.address(1), 8448)
    try:
        assert bad(await setup.examine()).keys() == {"tls-failed"}
    finally:
        server.close()


@pytest.mark.parametrize(
    "url", ["https://x.example:99999", "https://[", "https://", "file:///etc", 7, "x" * 9000]
)
async def test_base_urls_that_are_none(world: World, url: object) -> None:
    setup = Setup(world, own=False)
    await setup.start()
    assert setup.web is not None
    setup.web.answer("GET", "/.well-known/matrix/client", {"m.homeserver": {"base_url": url}}, **CORS)
    assert bad(await setup.examine()).keys() == {"client-well-known-invalid"}


async def test_a_certificate_that_cannot_be_read(world: World, maker: Maker) -> None:
    setup = Setup(world, own=False, context=maker.with_extension(JUNK))
    await setup.start()
    assert bad(await setup.examine()).keys() == {"tls-failed"}


async def test_what_others_say_does_not_command_the_terminal(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(world, own=False, keys_name="\x1b[2J\u202eevil\r\n ✓ all is well")
    await setup.start()
    print_examination(await setup.examine(), Console(force_terminal=False))
    out = capsys.readouterr().out
    assert "evil" in out
    assert not {"\x1b", "\u202e", "\r"} & set(out)
    assert "\n ✓ all is well" not in out
