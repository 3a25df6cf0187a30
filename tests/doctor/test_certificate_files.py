"""The certificate files of homeserver.yaml: before the server starts, and when it serves another certificate.

Each set-up has exactly the findings that must be there, and each is told once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from homeserver.certificate_files import CertificateFiles, load
from homeserver.config import settings_from
from homeserver.doctor import Level, as_report
from homeserver.examining import _certificate_files
from tests.doctor.cases import Case, trust
from tests.doctor.chains import JUNK, Maker, with_extension
from tests.doctor.setup import NAME, Setup
from tests.federation.world import World

Make = Callable[[Case], Awaitable[None] | None]
P, W = Level.PROBLEM, Level.WARNING
UNLOCKED = serialization.NoEncryption()
STOPPED = {"server-not-running": P}


@dataclass(frozen=True)
class Row:
    """A set-up: what must be found (by code), what the first of these must say, and how it is made."""

    make: Make
    found: dict[str, Level]
    says: str


ROWS: list[Row] = []


def finds(found: dict[str, Level], *, says: str = "") -> Callable[[Make], Make]:
    """Declare a set-up. says: what the finding on the files tells."""

    def declare(make: Make) -> Make:
        ROWS.append(Row(make, found, says))
        return make

    return declare


def directory(case: Case, name: str = "live") -> Path:
    """A directory for files, made when it is not there."""
    path = case.chains.root_path.parent / name
    path.mkdir(exist_ok=True)
    return path


def give(case: Case, name: str = NAME, *, chain: str = "fullchain.pem", **lifetime: float) -> None:
    """Have the configuration name files that certbot left, by an authority that everybody trusts, for a TLS listener on 8448."""
    trust(case)
    files = directory(case)
    case.chains.files(files, name, **lifetime)
    case.setup.certificate_files = CertificateFiles(files / chain, files / "privkey.pem")
    case.setup.listeners = (f"https://{case.world.address(1)}:8448",)


async def start(case: Case) -> None:
    """Start the server: it reads the files, as they are now."""
    assert case.setup.certificate_files is not None
    case.setup.context, _ = load(case.setup.certificate_files)
    await case.setup.start_matrix()


def renew(case: Case, **lifetime: float) -> None:
    """Replace the files by those of another certificate."""
    case.chains.files(directory(case), NAME, **lifetime)


def self_signed(case: Case) -> None:
    """Files of a certificate that vouches for itself."""
    give(case)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = case.chains.certificate(NAME, key, key, names=(NAME,), ca=True)
    write(case, "fullchain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write(case, "privkey.pem", in_pem(key))


def write(case: Case, name: str, content: bytes) -> None:
    """Replace one of the files."""
    (directory(case) / name).write_bytes(content)


def in_pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey,
    encryption: serialization.KeySerializationEncryption = UNLOCKED,
) -> bytes:
    """A private key as a file has it."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def delegate(case: Case, to: str) -> None:
    """The web site of the name delegates."""
    assert case.setup.web is not None
    case.setup.web.answer("GET", "/.well-known/matrix/server", {"m.server": to})


# --- before the start: files that cannot be served ----------------------------


@finds(STOPPED | {"certificate-file-unreadable": P}, says="fullchain.pem cannot be read (No such file")
def certificate_missing(case: Case) -> None:
    give(case)
    (directory(case) / "fullchain.pem").unlink()


@finds(STOPPED | {"certificate-file-unreadable": P}, says="tls_private_key_path")
def key_missing(case: Case) -> None:
    give(case)
    (directory(case) / "privkey.pem").unlink()


@finds(STOPPED | {"certificate-file-unreadable": P}, says="(Is a directory)")
def directory_given(case: Case) -> None:
    give(case, chain="")


@finds(STOPPED | {"certificate-file-invalid": P}, says="is not a certificate chain in PEM form")
def certificate_cut_off(case: Case) -> None:
    give(case)
    write(case, "fullchain.pem", (directory(case) / "fullchain.pem").read_bytes()[:300])


@finds(STOPPED | {"certificate-file-invalid": P}, says="tls_certificate_path")
def files_swapped(case: Case) -> None:
    give(case)
    live = directory(case)
    case.setup.certificate_files = CertificateFiles(live / "privkey.pem", live / "fullchain.pem")


@finds(STOPPED | {"key-file-invalid": P}, says="tls_private_key_path")
def key_that_is_none(case: Case) -> None:
    give(case)
    write(case, "privkey.pem", b"hello")


@finds(STOPPED | {"key-encrypted": P}, says="is encrypted")
def key_with_a_password(case: Case) -> None:
    give(case)
    key = ec.generate_private_key(ec.SECP256R1())
    write(case, "privkey.pem", in_pem(key, serialization.BestAvailableEncryption(b"secret")))


@finds(STOPPED | {"key-does-not-fit": P}, says="is not the key of the certificate")
def key_of_another_certificate(case: Case) -> None:
    give(case)
    write(case, "privkey.pem", in_pem(ec.generate_private_key(ec.SECP256R1())))


@finds(STOPPED | {"key-does-not-fit": P}, says="is not the key of the certificate")
def key_of_another_kind(case: Case) -> None:
    give(case)
    write(case, "privkey.pem", in_pem(rsa.generate_private_key(65537, 2048)))


@finds(STOPPED | {"certificate-too-weak": P}, says="ee key too small")
def key_too_short(case: Case) -> None:
    give(case)
    key = rsa.generate_private_key(65537, 1024)
    certificate = case.chains.certificate(NAME, key, case.chains.root_key, issuer="root", names=(NAME,))
    write(case, "fullchain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write(case, "privkey.pem", in_pem(key))


@finds(STOPPED | {"certificate-malformed": P}, says="has a part that cannot be read")
def certificate_with_names_that_break_off(case: Case) -> None:
    give(case)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = with_extension(key, JUNK)
    write(case, "fullchain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write(case, "privkey.pem", in_pem(key))


@finds(STOPPED | {"certificate-unusable": P}, says="no handshake comes about")
def key_of_a_kind_that_nobody_takes(case: Case) -> None:
    give(case)
    key = dsa.generate_private_key(2048)
    certificate = case.chains.certificate(NAME, key, case.chains.root_key, issuer="root", names=(NAME,))
    write(case, "fullchain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write(case, "privkey.pem", in_pem(key))


# --- before the start: certificates that others will not take -----------------


@finds(STOPPED | {"certificate-expired": P}, says="it ended on")
def expired(case: Case) -> None:
    give(case, days=-1)


@finds(STOPPED | {"certificate-not-yet-valid": P}, says="it begins on")
def not_yet_valid(case: Case) -> None:
    give(case, since_days=1)


@finds(STOPPED | {"certificate-expires-soon": W}, says="it ends in 4 days")
def ends_soon(case: Case) -> None:
    give(case, days=5)


@finds(STOPPED | {"certificate-self-signed": P}, says="signed by itself")
def vouches_for_itself(case: Case) -> None:
    self_signed(case)


@finds(STOPPED | {"certificate-intermediate-missing": P}, says="'between' is missing")
def leaf_alone(case: Case) -> None:
    give(case, chain="cert.pem")


@finds(STOPPED | {"certificate-unknown-authority": P}, says="does not trust")
def authority_that_nobody_knows(case: Case) -> None:
    authority = case.world.authority.path
    give(case)
    case.world.authority.path = authority
    whole = (directory(case) / "fullchain.pem").read_bytes() + case.chains.root_path.read_bytes()
    write(case, "fullchain.pem", whole)


@finds(STOPPED | {"certificate-wrong-name": P}, says="it is for www.example")
def for_another_name(case: Case) -> None:
    give(case, "www.example")


@finds(STOPPED | {"certificate-wrong-name": P, "certificate-expired": P}, says="it is for www.example")
def two_faults_are_two_findings(case: Case) -> None:
    give(case, "www.example", days=-1)


@finds(STOPPED | {"certificate-wrong-name": P}, says="is for host.example")
def for_the_name_where_the_delegation_asks_for_the_host(case: Case) -> None:
    give(case)
    case.world.dns.add("host.example", "A", case.world.address(1))
    delegate(case, "host.example:8448")


@finds(STOPPED | {"certificate-wrong-name": P}, says=f"is for {NAME}")
def for_the_host_of_an_srv_record(case: Case) -> None:
    give(case, "host.example")
    case.world.dns.add("host.example", "A", case.world.address(1))
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (10, 5, 8448, "host.example"))


@finds(STOPPED | {"certificate-expired": P, "dns-missing": P}, says="it ended on")
def before_the_dns_too(case: Case) -> None:
    give(case, days=-1)
    case.setup.with_client_well_known = False
    del case.world.dns.records[NAME, "A"]


@finds(STOPPED | {"certificate-expired": P}, says="it ended on")
def own_delegation_not_served_yet(case: Case) -> None:
    give(case, days=-1)
    case.setup.is_delegated = True
    case.world.dns.replace(NAME, "A", case.world.address(2))
    case.setup.listeners = (f"https://{case.world.address(2)}:443",)


# --- while it runs ------------------------------------------------------------


@finds({"certificate-not-loaded": W}, says="another certificate, until")
async def renewed_and_not_read(case: Case) -> None:
    give(case)
    await start(case)
    renew(case)


@finds({"certificate-expired": P, "certificate-not-loaded": W}, says="another certificate, until")
async def renewed_too_late_and_not_read(case: Case) -> None:
    give(case, days=-1)
    await start(case)
    renew(case)


@finds({"certificate-not-loaded": W, "certificate-expired": W}, says="another certificate, until")
async def renewed_for_the_worse_and_not_read(case: Case) -> None:
    give(case)
    await start(case)
    renew(case, days=-1)


@finds({"certificate-intermediate-missing": P, "certificate-not-loaded": W}, says="with others beside it")
async def chain_completed_and_not_read(case: Case) -> None:
    give(case)
    (directory(case) / "fullchain.pem").write_bytes((directory(case) / "cert.pem").read_bytes())
    whole = case.chains.between.public_bytes(serialization.Encoding.PEM)
    await start(case)
    write(case, "fullchain.pem", (directory(case) / "cert.pem").read_bytes() + whole)


@finds({"key-does-not-fit": W}, says="is not the key of the certificate")
async def key_changed_alone(case: Case) -> None:
    give(case)
    await start(case)
    write(case, "privkey.pem", in_pem(ec.generate_private_key(ec.SECP256R1())))


@finds({"certificate-file-unreadable": W}, says="cannot be read")
async def files_gone(case: Case) -> None:
    give(case)
    await start(case)
    (directory(case) / "fullchain.pem").unlink()


@finds({"certificate-expired": P})
async def served_expired_is_told_once(case: Case) -> None:
    give(case, days=-1)
    await start(case)


@finds({"certificate-self-signed": P})
async def served_self_signed_is_told_once(case: Case) -> None:
    self_signed(case)
    await start(case)


@finds({"certificate-wrong-name": P})
async def served_for_another_name_is_told_once(case: Case) -> None:
    give(case, "www.example")
    await start(case)


@finds({"certificate-intermediate-missing": P})
async def served_leaf_alone_is_told_once(case: Case) -> None:
    give(case, chain="cert.pem")
    await start(case)


@finds({"certificate-expired": P})
async def own_delegation_served_expired_is_told_once(case: Case) -> None:
    give(case, days=-1)
    assert case.setup.web is not None and case.setup.certificate_files is not None
    case.setup.is_delegated = True
    case.setup.context, _ = load(case.setup.certificate_files)
    # The port of .well-known, which is 443 outside of tests.
    case.setup.port, case.setup.address_number = 8443, 2
    case.world.dns.replace(NAME, "A", case.world.address(2))
    case.setup.listeners = (f"https://{case.world.address(2)}:8443",)
    await case.setup.start_matrix()


@finds({"dns-private-address": P, "tcp-refused": P, "certificate-self-signed": P}, says="signed by itself")
async def nobody_comes_through_yet(case: Case) -> None:
    self_signed(case)
    await start(case)
    case.world.dns.replace(NAME, "A", "127.99.0.1")


# --- healthy ------------------------------------------------------------------


@finds(STOPPED)
def good_before_the_start(case: Case) -> None:
    give(case)


@finds(STOPPED)
def good_for_the_host_of_the_delegation(case: Case) -> None:
    give(case, "host.example")
    case.world.dns.add("host.example", "A", case.world.address(1))
    delegate(case, "host.example:8448")


@finds({})
async def good_while_it_runs(case: Case) -> None:
    give(case)
    await start(case)


@finds({})
async def renewed_and_read(case: Case) -> None:
    give(case)
    renew(case)
    await start(case)


@finds({})
async def a_proxy_with_its_own_certificate(case: Case) -> None:
    """Which does not check what is behind it."""
    self_signed(case)
    assert case.setup.certificate_files is not None
    context, _ = load(case.setup.certificate_files)
    await case.world.peer(NAME, number=2, port=8448, context=context)
    case.setup.listeners = (f"https://{case.world.address(2)}:8448",)
    await case.setup.start_matrix()


@finds(STOPPED, says="this one is for the way between those two alone")
async def a_proxy_before_the_server_starts(case: Case) -> None:
    self_signed(case)
    case.setup.listeners = (f"https://{case.world.address(2)}:8448",)
    await case.setup.start_matrix()


@finds(STOPPED, says="others come to port 443, where this server does not speak TLS itself")
def a_proxy_that_does_not_run_either(case: Case) -> None:
    self_signed(case)
    case.world.dns.add("host.example", "A", case.world.address(1))
    delegate(case, "host.example:443")


@finds(STOPPED)
def own_delegation_to_a_proxy(case: Case) -> None:
    self_signed(case)
    case.setup.is_delegated = True


@finds({"srv-absent": P} | STOPPED, says="is known when the name leads somewhere")
def name_that_leads_nowhere(case: Case) -> None:
    give(case, "www.example")
    case.world.dns.add(f"_matrix-fed._tcp.{NAME}", "SRV", (0, 0, 0, "."))


# --- the table, complete ------------------------------------------------------


@pytest.mark.parametrize("row", [pytest.param(row, id=row.make.__name__) for row in ROWS])
async def test_the_files_are_judged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    async with AsyncExitStack() as stack:
        case = Case(world, Setup(world), Maker(tmp_path), monkeypatch, stack)
        await case.setup.start_web()
        if (made := row.make(case)) is not None:
            await made
        examination = await case.setup.examine()
    told = [each for each in examination.findings if each.level in (P, W)]
    shown = "\n".join(str(each) for each in examination.findings)
    assert sorted((each.code, each.level.value) for each in told) == sorted(
        (code, level.value) for code, level in row.found.items()
    ), shown
    assert all(each.remedy for each in told)
    # The files come first: what is to be mended in them keeps the server from starting, or others from coming.
    on_files = examination.sections[0].findings[: -len(case.setup.listeners)]
    assert any(row.says in f"{each.looked_at}: {each.found}" for each in on_files), shown
    explained = as_report(examination)["Explanations"]
    assert row.found.keys() <= {each["code"] for each in explained}
    assert examination.federation_ok == (P not in row.found.values())


# --- which files --------------------------------------------------------------

PATHS = {"tls_certificate_path": "a.pem", "tls_private_key_path": "a.key"}
BEHIND_A_PROXY = {"listeners": [{"port": 8008, "resources": [{"names": ["client", "federation"]}]}]}


@pytest.mark.parametrize(
    ("settings", "are_looked_at"),
    [
        (PATHS, True),
        ({}, False),
        ({"acme": {"enabled": True}}, False),
        (BEHIND_A_PROXY, False),
        (PATHS | BEHIND_A_PROXY, False),
    ],
)
def test_only_files_that_are_served_are_looked_at(
    tmp_path: Path, settings: dict[str, object], are_looked_at: bool
) -> None:
    loaded = settings_from({"server_name": "a.example", **settings}, base=tmp_path).settings
    expected = CertificateFiles(tmp_path / "a.pem", tmp_path / "a.key") if are_looked_at else None
    assert _certificate_files(loaded) == expected
