"""The address of a client behind proxies."""

from __future__ import annotations

import pytest

from homeserver.http import TrustedProxies


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        # What the client wrote itself stands before what the proxy saw.
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        # Two proxies, one behind the other.
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        # Somebody who is no proxy of ours is not believed.
        ("192.0.2.9", ["192.0.2.7"], "192.0.2.9"),
        ("-", ["192.0.2.7"], "-"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours(peer: str, forwarded: list[str], client: str) -> None:
    assert TrustedProxies(["127.0.0.0/8", "::1", "10.0.0.2"]).client(peer, forwarded) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert TrustedProxies().client("127.0.0.1", ["192.0.2.7"]) == "127.0.0.1"
