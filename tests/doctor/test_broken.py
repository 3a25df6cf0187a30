"""Broken set-ups, each with what the doctor must find, and nothing beside it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web
from signedjson.key import generate_signing_key

from homeserver.doctor import probes
from homeserver.doctor.echo import HEAD_BYTES, UPLOAD
from homeserver.federation.names import Names
from homeserver.federation.own_keys import OwnKeys
from tests.doctor.cases import Case, trust
from tests.doctor.chains import Maker
from tests.doctor.setup import CORS, NAME, Arrived, Setup, bad, changed, matrix, on_path
from tests.federation.world import World

UNUSED_IPV6 = "fd00:86::1"
HTML = "<!DOCTYPE html><html><body>Welcome</body></html>"


Break = Callable[[Case], Awaitable[None] | None]
BROKEN: list[tuple[str, frozenset[str], Break]] = []


def finds(*codes: str) -> Callable[[Break], Break]:
    """Declare a broken set-up and the codes of its findings. The function breaks it, and starts it unless it only sets fields."""

    def declare(function: Break) -> Break:
        BROKEN.append((function.__name__, frozenset(codes), function))
        return function

    return declare


# --- the name and the DNS -----------------------------------------------------


@finds("name-invalid")
def name_with_a_scheme(case: Case) -> None:
    case.setup.name = "https://matrix.example"


@finds("name-has-capitals")
async def name_with_capitals(case: Case) -> None:
    case.setup = Setup(case.world, name="Matrix.example", certificate_names=("matrix.example",))
    await case.setup.start()
    case.world.dns.replace("matrix.example", "A", case.world.address(1))


@finds("dns-missing")
async def no_address(case: Case) -> None:
    case.setup.with_client_well_known = False


@finds("dns-failed")
async def dns_that_fails(case: Case) -> None:
    case.world.dns.failing.add(NAME)


@finds("dns-private-address", "tcp-refused")
def private_address(case: Case) -> None:
    case.world.dns.replace(NAME, "A", "127.99.0.1")


@finds("ipv6-broken")
async def ipv6_address_that_nobody_listens_on(case: Case) -> None:
    await case.setup.start()
    case.monkeypatch.setattr(probes, "CONNECT_SECONDS", 0.5)
    case.world.dns.replace(NAME, "AAAA", UNUSED_IPV6)


@finds("dns-ipv6-only")
async def ipv6_alone(case: Case) -> None:
    case.setup.address, case.setup.port = "::1", free_port("::1")
    case.setup.name = f"{NAME}:{case.setup.port}"
    case.setup.__post_init__()
    case.world.dns.replace(NAME, "AAAA", "::1")
    await case.setup.start_matrix()


def hosts_file(case: Case, address: str) -> None:
    """Have /etc/hosts say so of the name."""
    addresses = Names.addresses

    async def look_up(names: Names, name: str) -> list[str]:
        return [address] if name == NAME else await addresses(names, name)

    case.monkeypatch.setattr(Names, "addresses", look_up)


@finds("hosts-file-only")
async def an_address_in_the_hosts_file_alone(case: Case) -> None:
    await case.setup.start()
    del case.world.dns.records[NAME, "A"]
    hosts_file(case, case.world.address(1))


# --- our own machine ----------------------------------------------------------


@finds("server-not-running")
async def server_not_started(case: Case) -> None:
    case.setup.listeners = (f"http://{case.world.address(2)}:8008", f"https://{case.world.address(2)}:8448")
    await case.setup.start_web()


@finds("server-not-running")
async def server_not_started_behind_a_proxy(case: Case) -> None:
    case.setup.listeners = (f"http://{case.world.address(2)}:8008",)
    everywhere(case, lambda: page(502))
    await case.setup.start()


@finds("listener-closed")
async def listener_that_was_added_since(case: Case) -> None:
    case.setup.listeners = (f"https://{case.world.address(1)}:8448", f"http://{case.world.address(1)}:8008")
    await case.setup.start()


# --- SRV ----------------------------------------------------------------------


@finds("srv-to-cname")
async def srv_to_an_alias(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (10, 5, 8448, "alias.example"))
    case.world.dns.add("alias.example", "CNAME", "host.example")
    case.world.dns.add("host.example", "A", case.world.address(1))


@finds("srv-absent")
async def srv_that_says_no(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (0, 0, 0, "."))


@finds("srv-failed")
async def srv_that_fails(case: Case) -> None:
    await case.setup.start()
    case.world.dns.failing.add(f"_matrix-fed._tcp.{NAME}")


@finds("dns-missing")
async def srv_to_nowhere(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (10, 5, 8448, "nowhere.example"))


@finds("tcp-refused")
async def srv_to_a_wrong_port(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (10, 5, 8447, "host.example"))
    case.world.dns.add("host.example", "A", case.world.address(1))


@finds("srv-names-differ")
async def srv_of_the_old_name_that_leads_elsewhere(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add("host.example", "A", case.world.address(1))
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (10, 5, 8448, "host.example"))
    case.world.dns.add(f"_matrix._tcp.{NAME}", "SRV", (10, 5, 8448, "former.example"))


@finds("tcp-refused")
async def srv_of_both_names_to_a_wrong_port(case: Case) -> None:
    await case.setup.start()
    case.world.dns.add("host.example", "A", case.world.address(1))
    for service in ("_matrix-fed._tcp", "_matrix._tcp"):
        case.world.dns.add(f"{service}.{NAME}", "SRV", (10, 5, 8447, "host.example"))


# --- .well-known --------------------------------------------------------------


async def with_well_known(case: Case, response: Callable[[web.Request], web.StreamResponse]) -> None:
    await case.setup.start()
    assert case.setup.web is not None

    async def handler(request: web.Request) -> web.StreamResponse:
        return response(request)

    case.setup.web.handle("GET", "/.well-known/matrix/server", handler)


@finds("well-known-is-html")
async def well_known_that_is_a_page(case: Case) -> None:
    await with_well_known(case, lambda _: web.Response(text=HTML, content_type="text/html"))


@finds("well-known-invalid")
async def well_known_that_is_no_json(case: Case) -> None:
    await with_well_known(case, lambda _: web.Response(text="matrix.example:8448"))


@finds("well-known-invalid")
async def well_known_of_a_wrong_type(case: Case) -> None:
    await with_well_known(case, lambda _: web.json_response({"m.server": 8448}))


@finds("well-known-invalid")
async def well_known_with_a_scheme(case: Case) -> None:
    await with_well_known(case, lambda _: web.json_response({"m.server": "https://matrix.example:443"}))


@finds("well-known-invalid")
async def well_known_without_its_key(case: Case) -> None:
    await with_well_known(case, lambda _: web.json_response({"m.homeserver": {"base_url": "https://x"}}))


@finds("well-known-too-large")
async def well_known_too_large(case: Case) -> None:
    text = json.dumps({"m.server": "matrix.example:8448"}) + " " * 60_000
    await with_well_known(case, lambda _: web.Response(text="[" * 60_000 + text))


@finds("well-known-status")
async def well_known_with_an_error(case: Case) -> None:
    await with_well_known(case, lambda _: web.Response(status=500, text="oops"))


@finds("well-known-redirect-loop")
async def well_known_in_a_loop(case: Case) -> None:
    await with_well_known(
        case, lambda request: web.Response(status=302, headers={"Location": request.raw_path})
    )


@finds("well-known-redirect-loop")
async def well_known_redirected_to_plain_http(case: Case) -> None:
    location = f"http://{NAME}/.well-known/matrix/server"
    await with_well_known(case, lambda _: web.Response(status=301, headers={"Location": location}))


@finds("tcp-refused")
async def well_known_with_a_wrong_port(case: Case) -> None:
    await with_well_known(case, lambda _: web.json_response({"m.server": "matrix.example:8447"}))


@finds("dns-missing")
async def well_known_to_nowhere(case: Case) -> None:
    await with_well_known(case, lambda _: web.json_response({"m.server": "nowhere.example:8448"}))


@finds("certificate-wrong-name")
async def delegation_with_the_certificate_of_the_name(case: Case) -> None:
    case.world.dns.add("host.example", "A", case.world.address(1))
    await with_well_known(case, lambda _: web.json_response({"m.server": "host.example:8448"}))


@finds("well-known-certificate")
async def web_site_with_a_wrong_certificate(case: Case) -> None:
    await case.setup.start_matrix()
    case.world.dns.replace(NAME, "A", case.world.address(1))
    await case.world.peer("other.example", port=8443)


# --- TCP and TLS --------------------------------------------------------------


@finds("tcp-refused")
async def port_closed(case: Case) -> None:
    await case.setup.start_web()


@finds("tcp-timeout")
async def port_filtered(case: Case) -> None:
    case.monkeypatch.setattr(probes, "CONNECT_SECONDS", 0.5)
    await case.setup.start_web()
    await case.stack.enter_async_context(silent_port(case.world.address(1), 8448))


@finds("certificate-expired")
async def certificate_expired(case: Case) -> None:
    case.setup.context = case.world.authority.server_context(NAME, expired=True)
    await case.setup.start()


@finds("certificate-not-yet-valid")
async def certificate_not_yet_valid(case: Case) -> None:
    trust(case)
    case.setup.context = case.chains.context(NAME, since_days=1)
    await case.setup.start()


@finds("certificate-expires-soon")
async def certificate_that_ends_soon(case: Case) -> None:
    trust(case)
    case.setup.context = case.chains.context(NAME, days=5)
    await case.setup.start()


@finds("certificate-wrong-name")
async def certificate_of_another_name(case: Case) -> None:
    case.setup.certificate_names = ("www.example",)
    await case.setup.start()


@finds("certificate-self-signed")
async def certificate_self_signed(case: Case) -> None:
    case.setup.context = case.chains.self_signed(NAME)
    await case.setup.start()


@finds("certificate-intermediate-missing")
async def certificate_without_its_intermediate(case: Case) -> None:
    trust(case)
    case.setup.context = case.chains.context(NAME, whole_chain=False)
    await case.setup.start()


@finds("certificate-intermediate-missing")
async def certificate_without_the_second_of_two_intermediates(case: Case) -> None:
    trust(case)
    case.setup.context = case.chains.long(NAME, shown=2)
    await case.setup.start()


@finds("certificate-unknown-authority")
async def certificate_of_an_unknown_authority(case: Case) -> None:
    case.setup.context = case.chains.context(NAME, by_root=True)
    await case.setup.start()


@finds("tls-too-old")
async def tls_1_0_alone(case: Case) -> None:
    context = case.world.authority.server_context(NAME)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    case.setup.context = context
    await case.setup.start()


@finds("tls-plain-http")
async def plain_http_where_tls_belongs(case: Case) -> None:
    await case.setup.start_web()
    application = web.Application()
    runner = web.AppRunner(application)
    await runner.setup()
    case.world.runners.append(runner)
    await web.TCPSite(runner, case.world.address(1), 8448).start()


@finds("tls-failed")
async def something_else_on_the_port(case: Case) -> None:
    await case.setup.start_web()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, case.world.address(1), 8448)
    case.stack.callback(server.close)


# --- HTTP and proxies ---------------------------------------------------------


def everywhere(case: Case, answer: Callable[[], web.Response]) -> None:
    case.setup.answers["*"] = lambda _: answer()
    case.setup.with_client_well_known = False


def page(status: int, **headers: str) -> web.Response:
    return web.Response(
        status=status, text=HTML, content_type="text/html", headers={"Server": "nginx", **headers}
    )


@finds("proxy-wrong-path")
def page_404(case: Case) -> None:
    everywhere(case, lambda: page(404))


@finds("http-not-matrix")
def page_200(case: Case) -> None:
    everywhere(case, lambda: page(200))


@finds("proxy-no-backend")
def proxy_without_a_server_behind_it(case: Case) -> None:
    everywhere(case, lambda: page(502))


@finds("proxy-no-backend")
def cloudflare_without_a_server_behind_it(case: Case) -> None:
    everywhere(case, lambda: page(521, **{"CF-RAY": "1", "Server": "cloudflare"}))


@finds("proxy-refuses-certificate")
def cloudflare_that_refuses_the_certificate(case: Case) -> None:
    everywhere(case, lambda: page(526, **{"CF-RAY": "1"}))


@finds("proxy-challenge")
def cloudflare_that_takes_servers_for_bots(case: Case) -> None:
    everywhere(case, lambda: page(403, **{"CF-RAY": "1", "cf-mitigated": "challenge"}))


@finds("client-address-unused")
def forwarded_addresses_that_are_not_believed(case: Case) -> None:
    case.setup.forwarded_for = ("198.51.100.7",)


@finds("http-redirect")
def redirect_to_www(case: Case) -> None:
    everywhere(case, lambda: page(301, Location="https://www.example/"))


@finds("http-not-served")
def listener_without_federation(case: Case) -> None:
    refusal = {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
    for path in ("/_matrix/federation/v1/version", "/_matrix/key/v2/server"):
        case.setup.answers[path] = lambda _: matrix(refusal, 404)


@finds("http-timeout")
def server_that_does_not_answer(case: Case) -> None:
    case.monkeypatch.setattr(probes, "ANSWER_SECONDS", 1.0)
    case.setup.hangs_on = "/_matrix/federation/v1/version"


@finds("gzip-unannounced")
def compressed_without_saying_so(case: Case) -> None:
    body = gzip.compress(json.dumps({"server": {"name": "x", "version": "1"}}).encode())
    answer = web.Response(body=body, content_type="application/json")
    case.setup.answers["/_matrix/federation/v1/version"] = lambda _: answer


@finds("path-decoded")
def path_decoded(case: Case) -> None:
    case.setup.rewrite = on_path(unquote)


@finds("path-decoded")
def only_slashes_decoded(case: Case) -> None:
    case.setup.rewrite = on_path(lambda path: path.replace("%2F", "/"))


@finds("path-decoded")
def sigils_decoded(case: Case) -> None:
    case.setup.rewrite = on_path(
        lambda path: path.replace("%21", "!").replace("%40", "@").replace("%3A", ":")
    )


@finds("path-encoded-twice")
def path_encoded_twice(case: Case) -> None:
    case.setup.rewrite = on_path(lambda path: path.replace("%", "%25"))


@finds("prefix-stripped")
def prefix_stripped(case: Case) -> None:
    case.setup.rewrite = on_path(lambda path: path.removeprefix("/_matrix"))


@finds("prefix-added")
def prefix_added(case: Case) -> None:
    case.setup.rewrite = on_path(lambda path: "/matrix" + path)


@finds("prefix-added")
def double_slash(case: Case) -> None:
    case.setup.rewrite = on_path(lambda path: "/" + path)


@finds("query-lost")
def query_lost(case: Case) -> None:
    case.setup.rewrite = changed(target=lambda target: target.partition("?")[0])


@finds("query-reordered")
def query_reordered(case: Case) -> None:
    def sort(target: str) -> str:
        path, mark, query = target.partition("?")
        return path + mark + "&".join(sorted(query.split("&"), reverse=True))

    case.setup.rewrite = changed(target=sort)


@finds("query-decoded")
def query_decoded(case: Case) -> None:
    def decode(target: str) -> str:
        path, mark, query = target.partition("?")
        return path + mark + query.replace("%2F", "/").replace("%21", "!")

    case.setup.rewrite = changed(target=decode)


@finds("host-changed")
def host_changed(case: Case) -> None:
    case.setup.rewrite = changed(host=lambda _: "127.0.0.1:8008")


@finds("authorization-lost")
def authorization_lost(case: Case) -> None:
    case.setup.rewrite = changed(authorization=lambda _: ())


@finds("body-changed")
def body_cut(case: Case) -> None:
    case.setup.rewrite = changed(body=lambda body: body[:40])


@finds("body-changed")
def body_in_another_character_set(case: Case) -> None:
    case.setup.rewrite = changed(body=lambda body: body.decode().replace("ü", "ue").encode())


@finds("request-refused-on-the-way")
def encoded_slashes_refused(case: Case) -> None:
    case.setup.refuses = "%2F"


# --- keys and clocks ----------------------------------------------------------


@finds("clock-wrong")
def clock_ten_minutes_off(case: Case) -> None:
    case.setup.date_offset_s = 600


@finds("keys-not-on-disk")
def another_key_under_the_same_name(case: Case) -> None:
    case.setup.published = OwnKeys(NAME, [generate_signing_key("a_1")])


@finds("keys-not-on-disk")
def another_key_under_another_name(case: Case) -> None:
    case.setup.published = OwnKeys(NAME, [generate_signing_key("b_2")])


@finds("keys-expired")
def keys_out_of_date(case: Case) -> None:
    case.setup.keys_offset_ms = -30 * 24 * 3_600_000


@finds("keys-of-another-server")
def another_server_answers(case: Case) -> None:
    case.setup.keys_name = "other.example"


@finds("keys-invalid")
def keys_that_were_changed(case: Case) -> None:
    case.setup.keys_change = lambda keys: {**keys, "valid_until_ts": keys["valid_until_ts"] + 1}


@finds("version-missing")
def version_of_nobody(case: Case) -> None:
    case.setup.answers["/_matrix/federation/v1/version"] = lambda _: matrix({})


# --- clients ------------------------------------------------------------------


@finds("client-well-known-cors")
async def client_discovery_without_cors(case: Case) -> None:
    await case.setup.start()
    assert case.setup.web is not None
    case.setup.web.answer(
        "GET", "/.well-known/matrix/client", {"m.homeserver": {"base_url": case.setup.base_url}}
    )


@finds("client-well-known-invalid")
async def client_discovery_without_an_address(case: Case) -> None:
    await case.setup.start()
    assert case.setup.web is not None
    case.setup.web.answer("GET", "/.well-known/matrix/client", {"m.homeserver": {}}, **CORS)


@finds("client-unreachable")
async def client_discovery_to_nowhere(case: Case) -> None:
    await case.setup.start()
    assert case.setup.web is not None
    body = {"m.homeserver": {"base_url": "https://nowhere.example"}}
    case.setup.web.answer("GET", "/.well-known/matrix/client", body, **CORS)


@finds("client-cors")
def client_answers_without_cors(case: Case) -> None:
    answer = web.json_response({"versions": ["v1.11"]})
    case.setup.answers["/_matrix/client/versions"] = lambda _: answer


@finds("client-preflight")
def preflight_refused(case: Case) -> None:
    case.setup.answers["/_matrix/client/v3/sync"] = lambda _: web.Response(status=405)


@finds("long-poll-cut")
def long_poll_cut(case: Case) -> None:
    case.setup.answers["/_matrix/client/unstable/homeserver.doctor/wait"] = lambda _: page(504)


@finds("upload-limit")
def upload_refused(case: Case) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=413)

    case.setup.expect = refuse


def upload_answered(case: Case, answer: Callable[[Arrived], web.Response]) -> None:
    """What stands in front of the server answers so once an upload has passed its limit."""

    def limited(arrived: Arrived) -> web.Response:
        return answer(arrived) if len(arrived.body) > 2 * HEAD_BYTES else matrix({"bytes": len(arrived.body)})

    case.setup.answers[UPLOAD] = limited


@finds("upload-limit")
def upload_refused_while_it_is_sent(case: Case) -> None:
    upload_answered(case, lambda _: page(413))


@finds("upload-cut")
def upload_failed_while_it_is_sent(case: Case) -> None:
    upload_answered(case, lambda _: page(502))


@finds("upload-cut")
def upload_cut(case: Case) -> None:
    upload_answered(case, lambda arrived: matrix({"bytes": len(arrived.body) // 2}))


@finds()
def upload_that_the_server_refuses(case: Case) -> None:
    upload_answered(case, lambda _: matrix({"errcode": "M_TOO_LARGE", "error": "too large"}, 413))


@finds()
def uploads_that_do_not_come_through_at_all(case: Case) -> None:
    case.setup.answers[UPLOAD] = lambda _: page(404)


# --- the table, complete ------------------------------------------------------


@pytest.mark.parametrize(("codes", "break_it"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
async def test_the_doctor_finds(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: frozenset[str], break_it: Break
) -> None:
    async with AsyncExitStack() as stack:
        case = Case(world, Setup(world), Maker(tmp_path), monkeypatch, stack)
        broken = break_it(case)
        if broken is None:
            if case.setup.name == NAME and case.setup.matrix is None and "name-invalid" not in codes:
                await start_unless_addressed(case)
        else:
            await broken
        examination = await case.setup.examine()
        told = bad(examination)
        assert told.keys() == codes, "\n".join(str(each) for each in examination.findings)
        by_code = {each.code: each for each in examination.findings}
        assert all(by_code[code].remedy for code in codes)


async def start_unless_addressed(case: Case) -> None:
    """Start it; where the test has given the name an address of its own, nobody is there."""
    if (NAME, "A") in case.world.dns.records:
        return
    await case.setup.start()


def test_there_are_enough() -> None:
    assert len(BROKEN) >= 40


def free_port(address: str) -> int:
    """A port of an IPv6 address that is free now."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def silent_port(address: str, port: int) -> AsyncIterator[None]:
    """A port whose queue of connections is full: what comes is dropped, as by a firewall."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(0)
        waiting = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((address, port))
                waiting.append(filler)
            await asyncio.sleep(0)
            yield
        finally:
            for filler in waiting:
                filler.close()
