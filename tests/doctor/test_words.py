"""What the findings say, where the code alone is not enough."""

from __future__ import annotations

import pytest

from homeserver.doctor import Examination
from homeserver.doctor.error_pages import judge_error_page
from homeserver.doctor.facts import Echo, Fetch, HTTPAnswer
from homeserver.doctor.judge_arrivals import judge_arrivals
from homeserver.federation.names import Names
from homeserver.federation.proxy_lines import LINES, PROXIES, lines
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


@pytest.mark.parametrize(
    ("status", "headers", "body", "maker"),
    [
        (502, {"server": "nginx/1.22"}, b"<html>502 Bad Gateway", "nginx/1.22"),
        (503, {"server": "Apache/2.4"}, b"<html>", "Apache/2.4"),
        (502, {"server": "Caddy"}, b"", "Caddy"),
        (503, {}, b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n", "HAProxy"),
        (504, {}, b"<h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n", "HAProxy"),
        (404, {}, b"404 page not found\n", "Traefik"),
        (521, {"server": "cloudflare", "cf-ray": "1"}, b"error code: 521", "Cloudflare"),
    ],
)  # fmt: skip
def test_whose_page_it_is(status: int, headers: dict[str, str], body: bytes, maker: str) -> None:
    finding = judge_error_page(HTTPAnswer(status, headers, body), "x")
    assert f" by {maker}" in finding.found
    assert finding.code == ("proxy-wrong-path" if status == 404 else "proxy-no-backend")


@pytest.mark.parametrize(("address", "is_lost"), [("192.0.2.1", True), ("127.86.0.1", False)])
def test_a_proxy_that_does_not_say_who_the_client_is(address: str, is_lost: bool) -> None:
    target = "/_matrix/x"
    arrived = {"target": target, "host": "a.example", "address": "127.0.0.1", "authorization": ["X-Matrix"]}
    url = f"https://{address}:8448{target}"
    answer = Fetch(url, HTTPAnswer(200, {}, b"{}", {}), (url,))
    codes = {each.code for each in judge_arrivals([Echo("x", "PUT", target, "a.example", answer, arrived)])}
    assert codes == ({"client-address-lost"} if is_lost else {"arrives-unchanged"})


def test_every_proxy_has_its_line() -> None:
    for topic in LINES:
        told = lines(topic, size=50, bytes=50 * 2**20) if topic == "upload" else lines(topic)
        assert all(f"{proxy}: " in told for proxy in PROXIES)


def test_a_proxy_that_names_itself_gets_its_own_line() -> None:
    assert lines("host", "nginx/1.22.1") == "nginx: proxy_set_header Host $http_host"
    assert "Apache: ProxyPreserveHost On" in lines("host", "something")
