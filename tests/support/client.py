"""A small HTTP client for transcript tests: what is sent stands as it goes on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from homeserver.http import make_runner


@dataclass(frozen=True)
class Answer:
    """A response. `body` is its decoded JSON, None when it has none."""

    status: int
    body: Any
    content: bytes
    headers: Mapping[str, str]

    @property
    def errcode(self) -> Any:
        """The errcode of an error response."""
        return self.body.get("errcode") if isinstance(self.body, dict) else None

    def ok(self) -> Any:
        """The body of a response that must have status 200."""
        assert self.status == 200, (self.status, self.content)
        return self.body

    def refused(self, status: int, errcode: str) -> Any:
        """The body of a response that must be this error, with a message for people."""
        assert (self.status, self.errcode) == (status, errcode), (self.status, self.content)
        assert isinstance(self.body["error"], str) and self.body["error"]
        return self.body


@dataclass(frozen=True)
class Client:
    """Sends requests to one server, with an access token if it has one."""

    session: aiohttp.ClientSession
    base_url: str
    access_token: str | None = None
    user_id: str = ""
    device_id: str = ""

    def with_token(self, access_token: str | None, user_id: str = "", device_id: str = "") -> Client:
        """The same client with another access token."""
        return replace(self, access_token=access_token, user_id=user_id, device_id=device_id)

    async def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `target` is the path and query, percent-encoded by the caller; `content` wins over `body`."""
        sent = dict(headers or {})
        if self.access_token is not None:
            sent.setdefault("Authorization", f"Bearer {self.access_token}")
        if content is None and body is not None:
            content = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        url = URL(self.base_url + target, encoded=True)
        async with self.session.request(method, url, data=content, headers=sent) as response:
            received = await response.read()
            is_json = response.content_type == "application/json" and received
            return Answer(
                response.status, json.loads(received) if is_json else None, received, response.headers
            )

    async def get(self, target: str, **options: Any) -> Answer:
        """GET."""
        return await self.request("GET", target, **options)

    async def post(self, target: str, body: Any = None, **options: Any) -> Answer:
        """POST."""
        return await self.request("POST", target, {} if body is None else body, **options)

    async def put(self, target: str, body: Any = None, **options: Any) -> Answer:
        """PUT."""
        return await self.request("PUT", target, {} if body is None else body, **options)

    async def delete(self, target: str, **options: Any) -> Answer:
        """DELETE."""
        return await self.request("DELETE", target, **options)


def no_news(next_batch: str) -> dict[str, Any]:
    """What /sync answers to a request with `since` when there is nothing to tell."""
    return {
        "next_batch": next_batch,
        "to_device": {"events": []},
        "device_lists": {"changed": [], "left": []},
        "device_one_time_keys_count": {},
        "device_unused_fallback_key_types": [],
    }


class _Server(TestServer):
    """A test server that runs the application as the server does."""

    async def _make_runner(self, **_: Any) -> web.AppRunner:  # type: ignore[override]
        return make_runner(self.app)


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[Client]:
    """A client of the application, which listens on a port of its own."""
    server = _Server(application, skip_url_asserts=True)
    await server.start_server()
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield Client(session, f"http://127.0.0.1:{server.port}")
    finally:
        await server.close()
