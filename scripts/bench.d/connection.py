"""A client that costs little, so that what is measured is the server: HTTP/1.1 on a connection that is kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

LONGEST_ANSWER = 256 * 1024**2
SECONDS_TO_ANSWER = 60


class Refused(Exception):
    """The server answered with something else than 200."""


class Connection:
    """One client. Use it with `async with`."""

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        self._address = host, port
        self.token = token

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address, limit=LONGEST_ANSWER)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request with a body of JSON; the JSON that is answered. Raises Refused."""
        return json.loads(await self.raw(method, path, None if body is None else json.dumps(body).encode()))

    async def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """As `request`, in bytes."""
        token = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        length = "" if body is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address[0]}\r\n{token}{length}\r\n"
        self._writer.write(head.encode() + (body or b""))
        async with asyncio.timeout(SECONDS_TO_ANSWER):
            status, answer = await self._answer()
        if status != 200:
            raise Refused(f"{method} {path}: {status} {answer[:500].decode(errors='replace')}")
        return answer

    async def _answer(self) -> tuple[int, bytes]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if "content-length" in headers:
            answer = await self._reader.readexactly(int(headers["content-length"]))
        else:
            answer = b"".join([chunk async for chunk in self._chunks()])
        return int(lines[0].split(" ")[1]), answer

    async def _chunks(self) -> Any:
        while size := int(await self._reader.readline(), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
