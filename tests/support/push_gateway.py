"""A push gateway of the test's own, over HTTPS. Directories whose tests want the fixture import it into their conftest.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from tests.support.certificates import Authority
from tests.support.federation_peer import SUBNET, bound_socket, name_of

PATH = "/_matrix/push/v1/notify"
PATIENCE = 20


class PushGateway:
    """Keeps what it is told. status: of its answers; hold: it lets requests wait; rejected: pushkeys that it does not want."""

    def __init__(self, authority: Authority, number: int = 190) -> None:
        self._tls = authority.server_context(f"{SUBNET}.{number}")
        self._socket = bound_socket(number)
        self.url = f"https://{name_of(self._socket)}{PATH}"
        self.told: list[dict[str, Any]] = []
        self.refused = 0
        self.status = 200
        self.answer: Any = None
        self.rejected: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post(PATH, self._notify)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        await self._runner.cleanup()

    async def _notify(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        body = json.loads(await request.read())
        assert set(body) == {"notification"}, body
        await self.hold.wait()
        if self.status == 200:
            self.told.append(body["notification"])
        else:
            self.refused += 1
        self._changed.set()
        return web.json_response(
            {"rejected": self.rejected} if self.answer is None else self.answer, status=self.status
        )

    async def until(self, count: int) -> list[dict[str, Any]]:
        """All that it was told, as soon as that is so much."""
        await self._until(lambda: len(self.told) >= count)
        return self.told

    async def until_refused(self, count: int) -> None:
        """Until it has refused so many."""
        await self._until(lambda: self.refused >= count)

    async def _until(self, is_so: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    def pusher(self, **changes: Any) -> dict[str, Any]:
        """What a client sets as its pusher to be told here."""
        return {
            "kind": "http",
            "app_id": "org.example.app",
            "pushkey": "key",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": self.url, "brand": "x"},
            **changes,
        }


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PushGateway]:
    """A gateway whose certificate a server takes for valid that is started after it."""
    authority = Authority(tmp_path, "of gateways")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    async with PushGateway(authority) as server:
        yield server
