"""A reverse proxy that makes one mistake: it stands where a server's federation port was, and the server behind it."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

# They belong to one connection, or are made anew.
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "date", "server"}
MOST_BYTES = 100 * 1024 * 1024


def decoding(path: str) -> str:
    """The classic: the path is percent-decoded. What a request line cannot hold stays as it is."""
    decoded = unquote(path)
    return path if " " in decoded or not decoded.isascii() else decoded


@asynccontextmanager
async def proxying(
    port: int,
    behind: str,
    directory: Path,
    *,
    path: Callable[[str], str] = lambda path: path,
    seconds_ahead: float = 0.0,
) -> AsyncIterator[None]:
    """Listen with the server's certificate, and pass everything on to `behind`. seconds_ahead: of the clock in its answers."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def passed_on(request: web.Request) -> web.Response:
            raw_path, mark, query = request.raw_path.partition("?")
            target = URL(behind + path(raw_path) + mark + query, encoded=True)
            headers = {
                name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
            }
            async with session.request(
                request.method, target, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                kept = {
                    name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
                }
                kept["Date"] = formatdate(time.time() + seconds_ahead, usegmt=True)
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", passed_on)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        try:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True).start()
            yield
        finally:
            await runner.cleanup()
