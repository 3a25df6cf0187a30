"""What is right and wrong with the certificates that a server shows. Pure: the time is given.

Spec: https://spec.matrix.org/v1.19/server-server-api/#tls
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, NameOID

from homeserver.certificate_names import cover, names_of
from homeserver.doctor.facts import Chain
from homeserver.doctor.findings import Finding, ok, problem, warning

# OpenSSL's verify codes: "openssl verify" lists them.
NOT_YET_VALID = 9
BAD_SIGNATURE = 7
EXPIRED = 10
SELF_SIGNED_LEAF = 18
SELF_SIGNED_IN_CHAIN = 19
NO_LOCAL_ISSUER = 20
UNVERIFIED_LEAF = 21

WARN_DAYS = 14
FULL_CHAIN = "give the whole chain: tls_certificate_path (or the proxy's ssl_certificate) is fullchain.pem, not cert.pem"


FREE_AUTHORITY = (
    "get a certificate from an authority such as Let's Encrypt; certbot, a proxy like Caddy, "
    "or `acme: {enabled: true}` do it"
)
NO_AUTHORITY = (
    "to look around on this machine it will do; for servers, here or in your network, make an authority of your own "
    "(federation_custom_ca_list): nobody else gives certificates for such a name"
)


def is_local_host(host: str) -> bool:
    """Whether a host name is one of a machine or network alone: no dot, or an ending for local use (RFC 6761, 6762)."""
    host = host.rstrip(".")
    return ":" not in host and (
        "." not in host or host.endswith((".localhost", ".local", ".internal", ".home.arpa"))
    )


def common_name(name: x509.Name) -> str:
    """The common name, or all of the name where there is none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it vouches for itself."""
    return certificate.issuer == certificate.subject


def judge_chain(chain: Chain, tls_name: str, now: datetime.datetime, where: str) -> Iterator[Finding]:
    """Findings on the names, the time and the issuers."""
    leaf = chain.certificates[0]
    yield _name_finding(leaf, tls_name, where)
    yield _time_finding(leaf, now, where)
    yield from _trust_findings(chain, tls_name, now, where)


def _name_finding(leaf: x509.Certificate, tls_name: str, where: str) -> Finding:
    looked_at = f"the certificate of {where} is for {tls_name}"
    names = names_of(leaf)
    if cover(names, tls_name):
        return ok("certificate-name", looked_at, ", ".join(names))
    shown = ", ".join(names) or "no name at all (a common name does not count)"
    return problem(
        "certificate-wrong-name",
        looked_at,
        f"it is for {shown}",
        f"get a certificate for {tls_name}: other servers ask for that name here, whatever the host is "
        "called (docs/federation.md)",
    )


def _time_finding(leaf: x509.Certificate, now: datetime.datetime, where: str) -> Finding:
    looked_at = f"the certificate of {where} is valid now"
    until, since = leaf.not_valid_after_utc, leaf.not_valid_before_utc
    if until <= now:
        return problem(
            "certificate-expired",
            looked_at,
            f"it ended on {until:%Y-%m-%d %H:%M} UTC",
            "renew it, and have the server or the proxy load the new one; then find out why the renewal "
            "did not run by itself",
        )
    if since > now:
        return problem(
            "certificate-not-yet-valid",
            looked_at,
            f"it begins on {since:%Y-%m-%d %H:%M} UTC",
            "compare the clock of this machine with the right time (timedatectl)",
        )
    days = (until - now).days
    if days < WARN_DAYS:
        return warning(
            "certificate-expires-soon",
            looked_at,
            f"it ends in {days} days, on {until:%Y-%m-%d}",
            "renew it now: renewal should have happened by itself some weeks before",
        )
    return ok("certificate-time", looked_at, f"until {until:%Y-%m-%d}, {days} days")


def _trust_findings(chain: Chain, tls_name: str, now: datetime.datetime, where: str) -> Iterator[Finding]:
    leaf = chain.certificates[0]
    looked_at = f"the certificate of {where} leads to an authority that servers trust"
    found = f"issued by {common_name(leaf.issuer)}"
    match chain.trust_code:
        case 0:
            yield ok("certificate-trusted", looked_at, found)
        case code if code == SELF_SIGNED_LEAF or is_self_signed(leaf):
            yield problem(
                "certificate-self-signed",
                looked_at,
                "it is signed by itself, so nobody can check whose it is",
                NO_AUTHORITY if is_local_host(tls_name) else FREE_AUTHORITY,
            )
        case code if code in (NO_LOCAL_ISSUER, UNVERIFIED_LEAF) and (missing := _missing_issuer(chain)):
            shown = ", ".join(common_name(each.subject) for each in chain.certificates)
            yield problem(
                "certificate-intermediate-missing",
                looked_at,
                f"the chain is {shown}; the certificate of the issuer {missing!r} is missing",
                FULL_CHAIN,
            )
        case code if code in (NO_LOCAL_ISSUER, SELF_SIGNED_IN_CHAIN, BAD_SIGNATURE):
            yield problem(
                "certificate-unknown-authority",
                looked_at,
                f"{found}, which this machine does not trust ({chain.trust_message})",
                "use an authority that everybody trusts, and show the whole chain (fullchain.pem); in a "
                "private network give the authority's "
                "certificate in federation_custom_ca_list of every server",
            )
        case code if code in (EXPIRED, NOT_YET_VALID):
            # The time of the certificate itself is judged; if that is right, it is that of one further up.
            if leaf.not_valid_after_utc > now > leaf.not_valid_before_utc:
                found += f", and a certificate above it has another time: {chain.trust_message}"
                yield problem("certificate-chain-expired", looked_at, found, FULL_CHAIN)
        case _:
            yield problem("certificate-untrusted", looked_at, f"{found}: {chain.trust_message}", FULL_CHAIN)


def _missing_issuer(chain: Chain) -> str | None:
    """The issuer at which the chain breaks off, if it is probably no root: the certificate says where that issuer's own can be had.

    Servers may show certificates in any order, and others beside them.
    """
    by_subject = {each.subject: each for each in chain.certificates}
    last = chain.certificates[0]
    for _ in chain.certificates:
        if last.issuer not in by_subject:
            break
        last = by_subject[last.issuer]
    if is_self_signed(last):
        return None
    try:
        last.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
    except x509.ExtensionNotFound:
        return None
    return common_name(last.issuer)
