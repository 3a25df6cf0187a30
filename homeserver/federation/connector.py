"""The aiohttp connector that only connects to allowed addresses.

Two places look at the address: the resolver leaves out blocked addresses and explains a name that has no
other, and the socket factory checks the very address that is connected to. The second is the guarantee: it
runs for every connection, for IP literals and after each redirect, and there is no second lookup between
check and connect.
"""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from homeserver.federation.addresses import AddressFilter, BlockedAddress
from homeserver.federation.names import Names


class GuardedResolver(AbstractResolver):
    """Resolves with `names`, without the addresses that `addresses` blocks."""

    def __init__(self, names: Names, addresses: AddressFilter) -> None:
        self._names = names
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of `host`. Raises UnresolvedName, or BlockedAddress if all are blocked."""
        found = await self._names.addresses(host)
        allowed = [address for address in found if self._addresses.blocking_network(address) is None]
        if not allowed:
            self._addresses.check(found[0])
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in allowed
        ]

    async def close(self) -> None:
        """Nothing: the one who made `names` closes it."""


def guarded_connector(names: Names, addresses: AddressFilter, **options: Any) -> aiohttp.TCPConnector:
    """A connector (for `aiohttp.ClientSession`) that never connects to a blocked address.

    `options` go to `aiohttp.TCPConnector`. Use it for whatever is fetched at the wish of others.
    """

    def make_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, where = info
        addresses.check(where[0])
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        resolver=GuardedResolver(names, addresses),
        use_dns_cache=False,  # `names` caches, by the records' own time to live
        socket_factory=make_socket,
        **options,
    )


__all__ = ["BlockedAddress", "GuardedResolver", "guarded_connector"]
