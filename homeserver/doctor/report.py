"""The findings in the shape of the federation tester's JSON, so that what was made for it works, plus our explanations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from unpaddedbase64 import encode_base64

from homeserver.certificate_names import cover, names_of
from homeserver.doctor.certificates import common_name, fingerprint
from homeserver.doctor.examination import Examination
from homeserver.doctor.facts import Chain, ConnectionFacts, Facts, HTTPAnswer, TLSFacts
from homeserver.federation.key_responses import InvalidKeys, StoredKeys, parse_server_keys
from homeserver.federation.well_known import lifetime


def as_report(examination: Examination) -> dict[str, Any]:
    """The report. `Explanations` is ours: section, code, level, looked_at, found and remedy of each finding."""
    facts = examination.facts
    return {
        "WellKnownResult": _well_known(facts),
        "DNSResult": _dns(facts),
        "ConnectionReports": {
            seen.where: _connection(seen, seen.tls, seen.tls.chain, seen.keys.answer, facts.server_name)
            for seen in facts.connections
            if seen.tls and seen.tls.chain and seen.keys and seen.keys.answer
        },
        "ConnectionErrors": {
            seen.where: {"Message": _error(seen)} for seen in facts.connections if not _answered(seen)
        },
        "Version": _version(facts),
        "FederationOK": examination.federation_ok,
        "Explanations": [
            {
                "section": section.title,
                "code": finding.code,
                "level": finding.level.value,
                "looked_at": finding.looked_at,
                "found": finding.found,
                "remedy": finding.remedy,
            }
            for section in examination.sections
            for finding in section.findings
        ],
    }


def _answered(seen: ConnectionFacts) -> bool:
    return seen.keys is not None and seen.keys.answer is not None


def _error(seen: ConnectionFacts) -> str:
    if seen.tcp_error is not None:
        return f"{seen.tcp_error[0]}: {seen.tcp_error[1]}"
    if seen.tls is not None and seen.tls.chain is None:
        return f"tls: {seen.tls.error}"
    fetched = seen.keys or seen.version
    return fetched.error or "no answer" if fetched else "no answer"


def _well_known(facts: Facts) -> dict[str, Any]:
    fetched = facts.well_known
    if facts.delegated is None or fetched is None or fetched.answer is None:
        return {
            "m.server": "",
            "CacheExpiresAt": 0,
            **({"result": facts.well_known_reason} if fetched else {}),
        }
    now = time.time()
    return {"m.server": facts.delegated, "CacheExpiresAt": int(now + lifetime(fetched.answer.headers, now))}


def _dns(facts: Facts) -> dict[str, Any]:
    records = [record for lookup in facts.srv for record in lookup.records]
    error = next((lookup.error for lookup in facts.srv if lookup.error), None)
    hosts = {}
    for host, lookups in facts.hosts.items():
        by_kind = {lookup.kind: lookup for lookup in lookups}
        found, alias = by_kind["addresses"], by_kind.get("CNAME")
        hosts[host] = {
            "CName": f"{alias.values[0]}." if alias and alias.values else f"{host}.",
            "Addrs": list(found.values),
            "Error": None if found.error is None else {"Message": found.error},
        }
    return {
        "SRVSkipped": not facts.srv,
        "SRVCName": facts.srv[0].name if facts.srv else "",
        "SRVRecords": [
            {"Target": f"{each.target}.", "Port": each.port, "Priority": each.priority, "Weight": each.weight}
            for each in records
        ]
        or None,
        "SRVError": None if error is None else {"Message": error},
        "Hosts": hosts,
        "Addrs": [seen.where for seen in facts.connections],
    }


def _connection(
    seen: ConnectionFacts, tls: TLSFacts, chain: Chain, answer: HTTPAnswer, server_name: str
) -> dict[str, Any]:
    body, errors = answer.json, []
    keys: StoredKeys | None = None
    try:
        keys = parse_server_keys(body, seen.seen_at_ms, server_name)
    except InvalidKeys as error:
        errors.append({"Message": error.reason})
    current = {key.key_id: key.verify_key for key in keys.keys if not key.is_old} if keys else {}
    checks = {
        "MatchingServerName": isinstance(body, Mapping) and body.get("server_name") == server_name,
        "FutureValidUntilTS": keys is not None and keys.valid_until > seen.seen_at_ms,
        "HasEd25519Key": bool(current),
        "AllEd25519ChecksOK": bool(current),
        "Ed25519Checks": {key_id: {"ValidEd25519": True, "MatchingSignature": True} for key_id in current},
        "ValidCertificates": chain.trust_code == 0 and cover(names_of(chain.certificates[0]), seen.tls_name),
    }
    passed = (
        "MatchingServerName",
        "FutureValidUntilTS",
        "HasEd25519Key",
        "AllEd25519ChecksOK",
        "ValidCertificates",
    )
    return {
        "Certificates": [_certificate(each) for each in chain.certificates],
        "Cipher": {"Version": tls.version, "CipherSuite": tls.cipher},
        "Checks": {"AllChecksOK": all(checks[name] for name in passed), **checks},
        "Errors": errors,
        "Ed25519VerifyKeys": {key_id: encode_base64(key) for key_id, key in current.items()},
        "Info": {},
        "Keys": body if isinstance(body, Mapping) else None,
    }


def _certificate(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "SubjectCommonName": common_name(certificate.subject),
        "IssuerCommonName": common_name(certificate.issuer),
        "SHA256Fingerprint": fingerprint(certificate),
        "DNSNames": list(names_of(certificate)),
        "NotAfter": certificate.not_valid_after_utc.isoformat(),
    }


def _version(facts: Facts) -> dict[str, Any]:
    for seen in facts.connections:
        answer = seen.version.answer if seen.version else None
        server = answer.json.get("server") if answer and isinstance(answer.json, dict) else None
        if isinstance(server, dict):
            return {"name": str(server.get("name", "")), "version": str(server.get("version", ""))}
    return {"error": "no address answered with a version"}
