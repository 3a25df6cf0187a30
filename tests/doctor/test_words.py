"""What the findings say, where the code alone is not enough."""

from __future__ import annotations

import pytest

from homeserver.doctor import Examination
from homeserver.federation.names import Names
from tests.doctor.chains import Maker
from tests.doctor.setup import NAME, Setup, bad
from tests.federation.world import World


def found(examination: Examination, code: str) -> str:
    """What came back, by the one finding of this code."""
    (finding,) = (each for each in examination.findings if each.code == code)
    return finding.found


async def test_an_alias_is_shown(world: World) -> None:
    setup = Setup(world, own=False)
    await setup.start()
    del world.dns.records[NAME, "A"]
    world.dns.add(NAME, "CNAME", "host.example")
    world.dns.add("host.example", "A", world.address(1))
    examination = await setup.examine()
    assert bad(examination) == {}
    assert found(examination, "dns") == f"by way of its alias (CNAME) host.example: {world.address(1)}"


async def test_what_the_dns_says_counts_for_more_than_the_hosts_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(world, own=False)
    await setup.start()

    async def look_up(_: Names, __: str) -> list[str]:
        return ["127.0.1.1"]

    monkeypatch.setattr(Names, "addresses", look_up)
    examination = await setup.examine()
    assert "127.0.1.1 in /etc/hosts" in found(examination, "hosts-file-differs")
    assert [each.address for each in examination.facts.connections] == [world.address(1)]
    assert "tcp" in {each.code for each in examination.findings}


async def test_the_certificate_that_is_missing_is_named(world: World, maker: Maker) -> None:
    for shown, missing in ((1, "lower"), (2, "between")):
        setup = Setup(world, own=False, context=maker.long(NAME, shown=shown), address_number=shown)
        await setup.start()
        assert repr(missing) in found(await setup.examine(), "certificate-intermediate-missing")


async def test_what_is_the_same_of_two_addresses_is_told_once(world: World) -> None:
    setup = Setup(world, own=False, certificate_names=("www.example",))
    await setup.start()
    await setup.world.peer("www.example", number=2, port=8448)
    world.dns.add(NAME, "A", world.address(2))
    assert setup.matrix is not None
    setup.matrix.everything = None  # neither knows the paths
    examination = await setup.examine()
    assert len(examination.facts.connections) == 2
    (name,) = (each for each in examination.findings if each.code == "certificate-wrong-name")
    assert world.address(1) in name.looked_at and world.address(2) in name.looked_at
