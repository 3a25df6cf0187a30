"""Which IP addresses this server may connect to.

Other servers choose host names for us (server names, redirects, SRV targets), and a name can resolve to
anything, so the address itself is what is checked, each time a socket is about to be connected: see
`connector`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The special purpose registries of IANA (RFC 6890), as far as no Matrix server on the Internet can be there.
DEFAULT_BLOCKLIST: tuple[str, ...] = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # former 6to4 relay
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and the broadcast address
    "::/128",  # unspecified
    "::1/128",  # loopback
    "100::/64",  # discard
    "2001:db8::/32",  # documentation
    "3fff::/20",  # documentation
    "fc00::/7",  # unique local
    "fe80::/10",  # link-local
    "fec0::/10",  # former site-local
    "ff00::/8",  # multicast
)

_ALWAYS_BLOCKED = ("0.0.0.0/32", "::/128")  # connecting to "no address" reaches this machine itself
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")  # deprecated


class BlockedAddress(OSError):
    """The settings forbid to connect to this address. An OSError, as any other failure to connect."""

    def __init__(self, address: str, network: str) -> None:
        super().__init__(f"{address} is in the blocked range {network}")
        self.address = address
        self.network = network


def _networks(ranges: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each, strict=False) for each in ranges)


@dataclass(frozen=True)
class AddressFilter:
    """`ip_range_blocklist` and `ip_range_allowlist`: networks in CIDR notation; the allowlist wins.

    Raises ValueError for a range that is none. An empty blocklist still blocks the unspecified addresses.
    """

    blocklist: tuple[Network, ...]
    allowlist: tuple[Network, ...]

    def __init__(self, blocklist: Iterable[str] = DEFAULT_BLOCKLIST, allowlist: Iterable[str] = ()) -> None:
        object.__setattr__(self, "blocklist", _networks((*blocklist, *_ALWAYS_BLOCKED)))
        object.__setattr__(self, "allowlist", _networks(allowlist))

    def blocking_network(self, address: str) -> str | None:
        """The blocked range that `address` (an IP literal, no brackets) is in, or None if it may be connected
        to.
        """
        forms = _forms(ipaddress.ip_address(address))
        if any(_containing(form, self.allowlist) for form in forms):
            return None
        for form in forms:
            network = _containing(form, self.blocklist)
            if network is not None:
                return str(network)
        return None

    def check(self, address: str) -> None:
        """Raise `BlockedAddress` if `address` must not be connected to."""
        network = self.blocking_network(address)
        if network is not None:
            raise BlockedAddress(address, network)


def _containing(address: Address, networks: tuple[Network, ...]) -> Network | None:
    for network in networks:
        if network.version == address.version and address in network:
            return network
    return None


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that a packet to it ends at where an IPv6 address merely wraps one."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address.teredo is not None:
        return (address, address.teredo[1])
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return (address, ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def is_ip_literal(host: str) -> bool:
    """Whether `host` (no brackets) is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
