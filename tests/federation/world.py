"""A small internet on loopback: a DNS, an authority, and TLS servers that note how they were asked.

The servers live in a network of their own below 127.86, which the clients' allowlist has; the rest of loopback stays
blocked, as it is for everybody.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from nacl.signing import SigningKey
from signedjson.key import generate_signing_key

from homeserver.federation.addresses import AddressFilter
from homeserver.federation.settings import OutboundSettings
from homeserver.federation.transport import FederationClient
from tests.support.certificates import Authority
from tests.support.dns import DNSServer

SUBNET = f"127.86.{os.getpid() % 250}"
WELL_KNOWN_PORT = 8443
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """How a server was asked. `target` is the raw path with the query; `sni` is None if none was sent."""

    method: str
    target: str
    host: str
    sni: str | None
    authorization: tuple[str, ...]
    body: bytes


@dataclass
class Peer:
    """A TLS server. `routes` are by method and path; all else is 404 M_UNRECOGNIZED."""

    address: str
    port: int
    routes: dict[tuple[str, str], Handler] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    everything: Handler | None = None  # answers what no route does

    def answer(self, method: str, path: str, value: Any, status: int = 200, **headers: str) -> None:
        """Answer requests for a path (without the query) with JSON."""

        async def handler(_: web.Request) -> web.Response:
            return web.json_response(value, status=status, headers=headers)

        self.routes[method, path] = handler

    def handle(self, method: str, path: str, handler: Handler) -> None:
        """Answer requests for a path with what the function returns."""
        self.routes[method, path] = handler

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Note the request and answer it."""
        connection = request.transport.get_extra_info("ssl_object") if request.transport else None
        self.seen.append(
            Seen(
                request.method,
                request.raw_path,
                request.headers["Host"],
                getattr(connection, "observed_sni", None),
                tuple(request.headers.getall("Authorization", [])),
                await request.read(),
            )
        )
        handler = self.routes.get((request.method, request.raw_path.partition("?")[0]))
        handler = handler or self.everything
        if handler is None:
            return web.json_response({"errcode": "M_UNRECOGNIZED", "error": "unknown"}, status=404)
        return await handler(request)


@dataclass
class World:
    """Everything a test needs; made by the fixture `world`."""

    directory: Path
    dns: DNSServer
    authority: Authority
    clients: list[FederationClient] = field(default_factory=list)
    runners: list[web.AppRunner] = field(default_factory=list)
    now: float = 1_700_000_000.0
    signing_key: SigningKey = field(default_factory=lambda: generate_signing_key("a_ours"))

    def address(self, number: int) -> str:
        """An address that clients may connect to."""
        return f"{SUBNET}.{number}"

    def settings(self, **changes: Any) -> OutboundSettings:
        """The settings of a client in this world."""
        defaults: dict[str, Any] = {
            "addresses": AddressFilter(allowlist=[f"{SUBNET}.0/24"]),
            "custom_ca_files": (self.authority.path,),
            "dns_servers": (self.dns.address,),
            "well_known_port": WELL_KNOWN_PORT,
            "request_timeout": 10.0,
        }
        return OutboundSettings(**(defaults | changes))

    def client(self, **changes: Any) -> FederationClient:
        """A client named ours.example, on this world's clock. It is closed at the end of the test."""
        client = FederationClient(
            "ours.example", self.signing_key, self.settings(**changes), clock=lambda: self.now
        )
        self.clients.append(client)
        return client

    async def peer(
        self,
        *names: str,
        number: int = 1,
        port: int = 8448,
        context: ssl.SSLContext | None = None,
        address: str | None = None,
        expect: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None,
    ) -> Peer:
        """A server at an address and port, with a certificate for the names. expect: what is done when a client expects 100."""
        peer = Peer(address or self.address(number), port)
        tls = context or self.authority.server_context(*names)

        def note(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.observed_sni = name  # type: ignore[attr-defined]

        tls.sni_callback = note  # type: ignore[assignment]
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", peer.respond, expect_handler=expect)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.runners.append(runner)
        await web.TCPSite(runner, peer.address, port, ssl_context=tls, reuse_address=True).start()
        return peer

    async def well_known(self, hostname: str, delegated: object, number: int = 99, **headers: str) -> Peer:
        """A web server for the host name that serves `{"m.server": delegated}`, with its DNS record."""
        self.dns.replace(hostname, "A", self.address(number))
        peer = await self.peer(hostname, number=number, port=WELL_KNOWN_PORT)
        peer.answer("GET", "/.well-known/matrix/server", {"m.server": delegated}, **headers)
        return peer

    async def close(self) -> None:
        """Stop everything."""
        for client in self.clients:
            await client.close()
        for runner in self.runners:
            await runner.cleanup()
