"""The ports that are listened on, and how requests are let in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp.web import TCPSite
from multidict import CIMultiDictProxy

from homeserver import admin_api, client_api, federation_api, web
from homeserver.app.base import Base
from homeserver.config import RateLimit, RateLimitSettings
from homeserver.config.settings import EVERY_ADDRESS
from homeserver.core.requester import Requester
from homeserver.federation.authentication import claimed_origin
from homeserver.federation.inbound import RequestAuthenticator
from homeserver.http import (
    Authenticators,
    PeerLimits,
    RateLimiter,
    Request,
    Services,
    TrustedProxies,
    build_application,
    make_runner,
)
from homeserver.services.clock import now_ms
from homeserver.services.inbound_errors import InboundErrors
from homeserver.services.last_seen import LastSeen
from homeserver.services.sessions import Sessions
from homeserver.tls import CertificateStore


async def listen(base: Base, services: list[object], certificates: CertificateStore | None) -> None:
    """Open the listeners. Raises OSError when a port is in use."""
    endpoints = [*client_api.ENDPOINTS, *federation_api.ENDPOINTS, *admin_api.ENDPOINTS, *web.ENDPOINTS]
    found = Services(services)
    authenticators = _authenticators(base, found)
    note_refusal = _noting_refusals(found.find(InboundErrors))
    settings = base.settings.rate_limits
    limits = RateLimiter(_rate_limits(settings), PeerLimits(settings.rc_federation))
    for listener in base.settings.server.listeners:
        application = build_application(
            endpoints,
            services,
            authenticators,
            limits,
            resources=listener.resource_names,
            on_refusal=note_refusal,
            proxies=TrustedProxies(map(str, listener.trusted_proxies)) if listener.x_forwarded else None,
        )
        runner = make_runner(application)
        await runner.setup()
        base.stack.push_async_callback(runner.cleanup)
        for address in addresses_to_bind(listener.bind_addresses):
            await TCPSite(
                runner,
                address,
                listener.port,
                ssl_context=certificates.context if listener.tls and certificates else None,
                backlog=1024,
            ).start()


def addresses_to_bind(configured: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses to bind. A system without IPv6 has only the others of those that mean every address."""
    if socket.has_dualstack_ipv6() or set(configured) != set(EVERY_ADDRESS):
        return configured
    return tuple(address for address in configured if ":" not in address)


def _rate_limits(settings: RateLimitSettings) -> dict[str, RateLimit]:
    """The limits that endpoints name: `rc_message`, `rc_login.address` and so on."""
    found: dict[str, RateLimit] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, RateLimit):
            found[field.name] = value
            continue
        if value is None:
            continue  # a limit that there is not unless it is set
        for inner in msgspec.structs.fields(value):
            limit = getattr(value, inner.name)
            if isinstance(limit, RateLimit):
                found[f"{field.name}.{inner.name}"] = limit
    return found


def _noting_refusals(inbound_errors: InboundErrors) -> Callable[[Request], None]:
    """Notes what is refused to other servers: to those that signed, and to those that say that they did."""

    def note(request: Request) -> None:
        if request.refusal is None:
            return
        origin = request.origin_or_none or claimed_origin(request.headers.getall("Authorization", ()))
        if origin is not None:
            what = f"{request.method} {request.raw_path}"
            inbound_errors.note(origin, what, f"{request.refusal.errcode}: {request.refusal.message}")

    return note


def _authenticators(base: Base, services: Services) -> Authenticators:
    sessions, last_seen = services.find(Sessions), services.find(LastSeen)
    inbound = RequestAuthenticator(base.identity.server_name, base.key_ring, base.whitelist, clock=now_ms)

    async def access_token(token: str, request: Request, /) -> Requester:
        requester = await sessions.authenticate(token)
        last_seen.note(requester, request.address, request.headers.get("User-Agent"))
        return requester

    async def signed_request(method: str, uri: str, headers: CIMultiDictProxy[str], content: Any, /) -> str:
        signed = headers.getall("Authorization", ())
        origin = await inbound.authenticate(method, uri, signed, content, headers.get("Host", ""))
        base.sender.heard_from(origin)
        return origin

    async def lost_request(method: str, uri: str, headers: CIMultiDictProxy[str], content: Any, /) -> str:
        return await inbound.explain_lost(method, uri, headers.getall("Authorization", ()), content)

    authenticators = Authenticators(access_token, signed_request, lost_request=lost_request)
    sessions.on_end.append(authenticators.running.changed)
    return authenticators
