"""The DNS client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from homeserver.federation import names as names_module
from homeserver.federation.names import Names, SRVRecord, UnresolvedName
from tests.support.dns import DNSServer


@pytest.fixture
async def dns() -> AsyncIterator[DNSServer]:
    """A DNS server."""
    async with DNSServer() as server:
        yield server


@pytest.fixture
async def names(dns: DNSServer) -> AsyncIterator[Names]:
    """A client of the DNS server."""
    client = Names([dns.address])
    yield client
    await client.close()


async def test_addresses(dns: DNSServer, names: Names) -> None:
    dns.add("a.example", "A", "192.0.2.1", "192.0.2.2")
    dns.add("a.example", "AAAA", "2001:db8::1")
    dns.add("alias.example", "CNAME", "a.example")
    for name in ("a.example", "alias.example", "A.Example", "a.example."):
        assert set(await names.addresses(name)) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert await names.addresses("192.0.2.9") == ["192.0.2.9"]
    assert await names.addresses("2001:db8::9") == ["2001:db8::9"]


async def test_srv(dns: DNSServer, names: Names) -> None:
    dns.add("_x._tcp.a.example", "SRV", (1, 2, 3, "b.example"), (4, 5, 6, "."))
    found = await names.srv("_x._tcp.a.example")
    assert set(found) == {SRVRecord("b.example", 3, 1, 2), SRVRecord("", 6, 4, 5)}
    assert await names.srv("_x._tcp.b.example") == []
    dns.add("_x._tcp.c.example", "A", "192.0.2.1")
    assert await names.srv("_x._tcp.c.example") == []


@pytest.mark.parametrize("name", ["nowhere.example", "a" * 64 + ".example", "a..example", "é.example", ""])
async def test_names_that_cannot_be(names: Names, name: str) -> None:
    with pytest.raises(UnresolvedName):
        await names.addresses(name)


async def test_a_failing_dns_is_not_an_absent_name(dns: DNSServer, names: Names) -> None:
    dns.failing |= {"a.example", "_x._tcp.a.example"}
    for lookup in (names.addresses("a.example"), names.srv("_x._tcp.a.example")):
        with pytest.raises(UnresolvedName) as caught:
            await lookup
        assert caught.value.exists is None


async def test_search_domains_are_not_tried(dns: DNSServer, names: Names) -> None:
    with pytest.raises(UnresolvedName):
        await names.addresses("single")
    assert {name for name, _ in dns.queries} == {"single"}


async def test_every_lookup_of_a_silent_dns_ends() -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    client = Names([f"127.0.0.1:{silent.getsockname()[1]}"], timeout=0.2, tries=1)
    for _ in range(3):
        with pytest.raises(UnresolvedName) as caught:
            await client.addresses("a.example")
        assert caught.value.exists is None
    await client.close()
    silent.close()


async def test_the_systems_configuration_is_read_again_after_a_failure(
    dns: DNSServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configured servers stay; the system's are taken over anew, at most once a minute."""
    read: list[bool] = []
    monkeypatch.setattr(names_module._Resolver, "reread_configuration", lambda _: read.append(True))
    dns.failing.add("a.example")
    client = Names([dns.address])
    for expected, system in ((0, False), (1, True), (1, True)):
        client._system = system
        monkeypatch.setattr(names_module, "_REREAD_AFTER", -1.0 if not read else 60.0)
        with pytest.raises(UnresolvedName):
            await client.addresses("a.example")
        assert len(read) == expected
    await client.close()


async def test_rereading_the_configuration_leaves_a_working_client(dns: DNSServer, names: Names) -> None:
    names._resolver.reread_configuration()
    dns.add("a.example", "A", "192.0.2.1")
    assert await names.addresses("a.example") == ["192.0.2.1"]


async def test_servers_need_one_port() -> None:
    with pytest.raises(ValueError, match="same port"):
        Names(["127.0.0.1:53", "127.0.0.2:54"])


async def test_many_lookups_at_once(dns: DNSServer, names: Names) -> None:
    for number in range(50):
        dns.add(f"h{number}.example", "A", f"192.0.2.{number}")
    found = await asyncio.gather(*(names.addresses(f"h{number}.example") for number in range(50)))
    assert found == [[f"192.0.2.{number}"] for number in range(50)]
