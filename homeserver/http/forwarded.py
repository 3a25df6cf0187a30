"""Whose request it is when it comes through reverse proxies. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The addresses whose X-Forwarded-For is believed. Without any it never is."""

    def __init__(self, ranges: Iterable[str] = ()) -> None:
        """`ranges` in CIDR notation. Raises ValueError."""
        self._networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(each, strict=False) for each in ranges
        )

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The address that a request came from.

        peer: who is connected; forwarded: the X-Forwarded-For headers. Each proxy adds the address that it saw at the end, so the
        last one that is no trusted proxy is the client's: what stands before it anybody can have written.
        """
        if not self._is_trusted(peer):
            return peer
        address = peer
        for hop in reversed([each.strip() for header in forwarded for each in header.split(",")]):
            if not _is_address(hop):
                break
            address = hop
            if not self._is_trusted(hop):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        if not self._networks or not _is_address(address):
            return False
        found = ipaddress.ip_address(address)
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return any(
            (mapped or found) in network
            for network in self._networks
            if network.version == (mapped or found).version
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
