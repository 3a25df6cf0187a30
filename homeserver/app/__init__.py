"""The composition root: the only place that builds the server's objects and wires them.

Read it from `serve`: `base`, then one module for each part of the services, then the listeners.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from homeserver.app.accounts import account_services
from homeserver.app.base import Base, build_base
from homeserver.app.ephemeral import build_ephemeral
from homeserver.app.federation import federation_services
from homeserver.app.graph import build_graph
from homeserver.app.listeners import listen
from homeserver.app.people import build_people, people_services
from homeserver.app.push import push_services
from homeserver.app.rooms import room_services
from homeserver.certificate_watch import CertificateWatch
from homeserver.config import Settings
from homeserver.tls import CertificateStore, certificate_store

if TYPE_CHECKING:
    from homeserver.acme import CertificateRenewal


class Server:
    """The running server."""

    def __init__(
        self,
        stack: AsyncExitStack,
        certificates: CertificateStore | None,
        renewal: CertificateRenewal | None,
    ) -> None:
        """`stack` closes what was opened, last first."""
        self._stack = stack
        self._certificates = certificates
        self._renewal = renewal

    async def close(self) -> None:
        """Stop listening, end what runs, close the database."""
        await self._stack.aclose()

    def reload(self) -> None:
        """Read the TLS certificate again, and try now to obtain one if that failed.

        Raises TLSError, and then the certificate of before stays in use.
        """
        if self._renewal is not None:
            self._renewal.try_now()
        if self._certificates is not None:
            self._certificates.reload()


async def serve(settings: Settings) -> Server:
    """Start the server: open the database, wire the services, listen.

    Raises DatabaseError, TLSError, ConfigError or OSError (a port in use) with what a person can do about it; then nothing is
    left open.
    """
    certificates = (
        certificate_store(settings) if any(listener.tls for listener in settings.server.listeners) else None
    )
    renewal = None
    async with AsyncExitStack() as stack:
        if certificates is not None:
            watch = CertificateWatch(certificates)
            watch.start()
            stack.push_async_callback(watch.stop)
            if settings.tls.acme.enabled:
                # Imported here: the libraries take 7 MB, which most servers do not need.
                from homeserver.app.certificates import certificate_renewal

                renewal = certificate_renewal(settings, certificates, watch)
        base = await build_base(settings, stack)
        await listen(base, await _services(base), certificates)
        if renewal is not None:
            # It proves its names through the listeners.
            await renewal.start()
            stack.push_async_callback(renewal.stop)
        return Server(stack.pop_all(), certificates, renewal)
    raise AssertionError("unreachable: the stack swallows no exceptions")


async def _services(base: Base) -> list[object]:
    """Everything that handlers may ask for."""
    graph = build_graph(base)
    # Before what gives it something to send, so that it stops after that.
    base.stack.push_async_callback(base.sender.stop)
    ephemeral = await build_ephemeral(base, graph)
    people = build_people(base, graph, ephemeral.presence_news)
    await base.sender.start()
    base.stack.push_async_callback(graph.joins.stop)
    return [
        base.sender,
        *await people_services(base, graph, people),
        *await account_services(base, people),
        ephemeral.receipts,
        ephemeral.typing,
        ephemeral.presence,
        *await push_services(base, graph),
        *room_services(base, graph, people, ephemeral.presence),
        *federation_services(base, graph, people, ephemeral),
        *_settings(base.settings),
    ]


def _settings(settings: Settings) -> Iterable[object]:
    """The groups of settings, for handlers that tell clients of them."""
    return (
        getattr(settings, field.name)
        for field in msgspec.structs.fields(Settings)
        if field.name != "config_path"
    )
