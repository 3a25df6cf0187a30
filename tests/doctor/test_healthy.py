"""A healthy server gets no advice."""

from __future__ import annotations

import pytest

from homeserver.doctor import Level, as_report
from tests.doctor.setup import NAME, Setup, bad
from tests.federation.world import World


@pytest.mark.parametrize("own", [True, False])
async def test_nothing_is_wrong(world: World, own: bool) -> None:
    setup = Setup(world, own=own)
    await setup.start()
    examination = await setup.examine()
    assert bad(examination) == {}
    assert {each.level for each in examination.findings} <= {Level.OK, Level.NOTE}
    codes = {each.code for each in examination.findings}
    assert codes >= {"well-known-none", "dns", "tcp", "tls", "certificate-trusted", "keys", "client-versions"}
    assert ("arrives-unchanged" in codes) == own
    assert ("long-poll" in codes) == own


async def test_the_report_has_the_shape_of_the_federation_tester(world: World) -> None:
    setup = Setup(world)
    await setup.start()
    report = as_report(await setup.examine())
    where = f"{world.address(1)}:8448"
    assert report["FederationOK"] is True
    assert report["DNSResult"]["Hosts"][NAME] == {
        "CName": f"{NAME}.",
        "Addrs": [world.address(1)],
        "Error": None,
    }
    assert report["DNSResult"]["Addrs"] == [where]
    assert report["ConnectionErrors"] == {}
    connection = report["ConnectionReports"][where]
    assert connection["Checks"]["AllChecksOK"] is True
    assert connection["Cipher"]["Version"].startswith("TLSv1.")
    assert connection["Keys"]["server_name"] == NAME
    assert list(connection["Ed25519VerifyKeys"]) == ["ed25519:a_1"]
    assert report["Version"] == {"name": "tested", "version": "1.0"}
    assert report["WellKnownResult"]["m.server"] == ""


async def test_delegation_and_srv_records_are_followed(world: World) -> None:
    setup = Setup(world, certificate_names=("host.example",), port=443)
    await setup.start_web()
    assert setup.web is not None
    setup.web.answer("GET", "/.well-known/matrix/server", {"m.server": "host.example:443"})
    world.dns.add("host.example", "A", world.address(1))
    await setup.start_matrix()
    examination = await setup.examine()
    assert set(bad(examination)) <= {"client-unreachable"}
    report = as_report(examination)
    assert report["WellKnownResult"]["m.server"] == "host.example:443"
    assert report["FederationOK"] is True
