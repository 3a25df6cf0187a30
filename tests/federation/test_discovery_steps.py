"""Every step of the discovery, against real servers: who is connected to, with which Host, SNI and certificate name."""

from __future__ import annotations

import pytest

from homeserver.federation.errors import FederationError
from homeserver.federation.remote.queries import get_version
from homeserver.federation.transport import FederationClient
from tests.federation.world import WELL_KNOWN_PORT, Peer, World

VERSION = {"server": {"name": "peer", "version": "1"}}


def serve_version(peer: Peer) -> Peer:
    peer.answer("GET", "/_matrix/federation/v1/version", VERSION)
    return peer


async def reach(client: FederationClient, server_name: str, peer: Peer) -> tuple[str, str | None, list[str]]:
    """Ask for the version; returns the Host and SNI that the peer saw, and the sections of the steps taken."""
    serve_version(peer)
    answer = await get_version(client, server_name)
    assert answer.name == "peer"
    destination = await client.locator.locate(server_name)
    return peer.seen[-1].host, peer.seen[-1].sni, [step.section for step in destination.steps]


async def test_1_ip_literal_with_port(world: World) -> None:
    address = world.address(1)
    peer = await world.peer(address, port=8001)
    assert await reach(world.client(), f"{address}:8001", peer) == (f"{address}:8001", None, ["1"])


async def test_1_ip_literal_without_port(world: World) -> None:
    address = world.address(1)
    peer = await world.peer(address)
    assert await reach(world.client(), address, peer) == (address, None, ["1"])


async def test_1_ip_literal_needs_a_certificate_for_the_address(world: World) -> None:
    await world.peer("matrix.example")
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), world.address(1))
    assert caught.value.stage == "tls"
    assert "IP address mismatch" in caught.value.reason


async def test_2_name_with_port(world: World) -> None:
    world.dns.add("matrix.example", "A", world.address(1))
    peer = await world.peer("matrix.example", port=8001)
    seen = await reach(world.client(), "matrix.example:8001", peer)
    assert seen == ("matrix.example:8001", "matrix.example", ["2"])
    assert not any(name.startswith("_matrix") for name, _ in world.dns.queries)


async def test_2_name_that_is_an_alias(world: World) -> None:
    world.dns.add("matrix.example", "CNAME", "host.example")
    world.dns.add("host.example", "A", world.address(1))
    peer = await world.peer("matrix.example", port=8001)
    seen = await reach(world.client(), "matrix.example:8001", peer)
    assert seen == ("matrix.example:8001", "matrix.example", ["2"])


async def test_3_1_delegated_to_ip_literal(world: World) -> None:
    address = world.address(2)
    await world.well_known("matrix.example", address)
    peer = await world.peer(address, number=2)
    assert await reach(world.client(), "matrix.example", peer) == (address, None, ["3", "3.1"])


async def test_3_1_delegated_to_ip_literal_with_port(world: World) -> None:
    address = world.address(2)
    await world.well_known("matrix.example", f"{address}:8002")
    peer = await world.peer(address, number=2, port=8002)
    assert await reach(world.client(), "matrix.example", peer) == (f"{address}:8002", None, ["3", "3.1"])


async def test_3_2_delegated_to_name_with_port(world: World) -> None:
    await world.well_known("matrix.example", "host.example:8002")
    world.dns.add("host.example", "A", world.address(2))
    peer = await world.peer("host.example", number=2, port=8002)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("host.example:8002", "host.example", ["3", "3.2"])


async def test_3_3_delegated_to_srv(world: World) -> None:
    await world.well_known("matrix.example", "host.example")
    world.dns.add("_matrix-fed._tcp.host.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("_matrix._tcp.host.example", "SRV", (10, 0, 8004, "elsewhere.example"))
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("host.example", number=2, port=8003)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("host.example", "host.example", ["3", "3.3"])


async def test_3_4_delegated_to_deprecated_srv(world: World) -> None:
    await world.well_known("matrix.example", "host.example")
    world.dns.add("_matrix._tcp.host.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("host.example", number=2, port=8003)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("host.example", "host.example", ["3", "3.3", "3.4"])


async def test_3_5_delegated_to_name_without_srv(world: World) -> None:
    await world.well_known("matrix.example", "host.example")
    world.dns.add("host.example", "A", world.address(2))
    peer = await world.peer("host.example", number=2)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("host.example", "host.example", ["3", "3.3", "3.4", "3.5"])


async def test_4_srv_without_well_known(world: World) -> None:
    world.dns.add("_matrix-fed._tcp.matrix.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("matrix.example", number=2, port=8003)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("matrix.example", "matrix.example", ["3", "4"])


async def test_5_deprecated_srv_without_well_known(world: World) -> None:
    world.dns.add("_matrix._tcp.matrix.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("matrix.example", number=2, port=8003)
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("matrix.example", "matrix.example", ["3", "4", "5"])


async def test_6_name_and_default_port(world: World) -> None:
    world.dns.add("matrix.example", "A", world.address(1))
    peer = await world.peer("matrix.example")
    seen = await reach(world.client(), "matrix.example", peer)
    assert seen == ("matrix.example", "matrix.example", ["3", "4", "5", "6"])


async def test_srv_target_must_prove_the_hostname(world: World) -> None:
    """DNS is insecure: the certificate is for the host name, not for the SRV record's target."""
    world.dns.add("_matrix-fed._tcp.matrix.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("target.example", "A", world.address(2))
    await world.peer("target.example", number=2, port=8003)
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), "matrix.example")
    assert caught.value.stage == "tls"
    assert "'matrix.example'" in caught.value.reason


async def test_srv_targets_are_tried_in_order_of_priority(world: World) -> None:
    world.dns.add(
        "_matrix-fed._tcp.matrix.example",
        "SRV",
        (20, 0, 8003, "target.example"),
        (10, 0, 8009, "target.example"),  # nobody listens there
        (5, 0, 8003, "nowhere.example"),  # does not resolve
    )
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("matrix.example", number=2, port=8003)
    await reach(world.client(), "matrix.example", peer)
    destination = await world.client().locator.locate("matrix.example")
    assert [candidate.port for candidate in destination.candidates] == [8003, 8009, 8003]
    assert destination.candidates[0].host == "nowhere.example"


async def test_srv_failure_of_all_targets_names_each(world: World) -> None:
    world.dns.add(
        "_matrix-fed._tcp.matrix.example",
        "SRV",
        (10, 0, 8009, "target.example"),
        (20, 0, 8009, "nowhere.example"),
    )
    world.dns.add("target.example", "A", world.address(2))
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), "matrix.example")
    assert caught.value.stage == "connect"
    assert "target.example port 8009" in caught.value.reason
    assert "nowhere.example port 8009" in caught.value.reason


async def test_srv_lookup_that_fails_is_no_answer(world: World) -> None:
    world.dns.add("matrix.example", "A", world.address(1))
    world.dns.failing.add("_matrix-fed._tcp.matrix.example")
    world.dns.add("_matrix._tcp.matrix.example", "SRV", (10, 0, 8003, "target.example"))
    world.dns.add("target.example", "A", world.address(2))
    peer = await world.peer("matrix.example", number=2, port=8003)
    client = world.client()
    assert (await reach(client, "matrix.example", peer))[2] == ["3", "4", "5"]
    step = (await client.locator.locate("matrix.example")).steps[1]
    assert "could not be looked up" in step.outcome


async def test_a_name_of_the_hosts_file_resolves(world: World) -> None:
    """`localhost` stands in every hosts file; that it is blocked shows that it was resolved without the DNS."""
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), "localhost:8448")
    assert caught.value.stage == "blocked"
    assert not world.dns.queries


async def test_a_name_that_does_not_exist(world: World) -> None:
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), "nowhere.example")
    assert caught.value.stage == "dns"
    assert "nowhere.example port 8448" in caught.value.reason


async def test_what_is_no_server_name(world: World) -> None:
    with pytest.raises(FederationError) as caught:
        await get_version(world.client(), "not a server/name")
    assert caught.value.stage == "discovery"


async def test_concurrent_requests_share_one_discovery(world: World) -> None:
    import asyncio

    web_server = await world.well_known("matrix.example", "host.example:8002")
    world.dns.add("host.example", "A", world.address(2))
    serve_version(await world.peer("host.example", number=2, port=8002))
    client = world.client()
    await asyncio.gather(*(get_version(client, "matrix.example") for _ in range(10)))
    assert len(web_server.seen) == 1
    assert web_server.seen[0].host == f"matrix.example:{WELL_KNOWN_PORT}"
    assert web_server.seen[0].sni == "matrix.example"
