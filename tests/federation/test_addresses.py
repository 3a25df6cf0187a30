"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.federation.addresses import AddressFilter, BlockedAddress

BLOCKED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "2002:7f00:1::1",
    "2002:c0a8:101::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
]
ALLOWED = [
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", BLOCKED)
def test_blocked_by_default(address: str) -> None:
    with pytest.raises(BlockedAddress, match="blocked range"):
        AddressFilter().check(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_allowed_by_default(address: str) -> None:
    AddressFilter().check(address)


def test_the_allowlist_wins() -> None:
    addresses = AddressFilter(allowlist=["127.0.0.0/8", "::1/128", "10.0.0.5"])
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "::1", "10.0.0.5"):
        addresses.check(address)
    assert addresses.blocking_network("10.0.0.6") == "10.0.0.0/8"


def test_the_blocklist_replaces_the_default_but_for_no_address_at_all() -> None:
    addresses = AddressFilter(blocklist=["8.8.8.0/24"])
    assert addresses.blocking_network("8.8.8.8") == "8.8.8.0/24"
    assert addresses.blocking_network("127.0.0.1") is None
    assert addresses.blocking_network("0.0.0.0") == "0.0.0.0/32"
    assert addresses.blocking_network("::") == "::/128"


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="banana"):
        AddressFilter(blocklist=["banana"])


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_does_not_change_the_verdict(address: ipaddress.IPv4Address) -> None:
    addresses = AddressFilter()
    plain = addresses.blocking_network(str(address))
    assert addresses.blocking_network(f"::ffff:{address}") == plain
    assert (addresses.blocking_network(f"64:ff9b::{address}") is None) == (plain is None)
