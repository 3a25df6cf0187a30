"""Findings on one address and port: TCP, TLS, HTTP, the published keys and the clock. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#server-implementation
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from homeserver.doctor.certificates import judge_chain
from homeserver.doctor.error_pages import PROXY_REMEDY, judge_error_page, made_by
from homeserver.doctor.facts import ConnectionFacts, Fetch, HTTPAnswer, TLSFacts
from homeserver.doctor.findings import Finding, note, ok, problem, skipped, warning
from homeserver.federation.key_responses import InvalidKeys, parse_server_keys
from homeserver.federation.rewrites import compare_targets

CLOCK_NOTE_MS = 5_000
CLOCK_PROBLEM_MS = 60_000
HOUR_MS = 3_600_000
VERSION = "/_matrix/federation/v1/version"
KEYS = "/_matrix/key/v2/server"
KEYS_NOT_ON_DISK = "keys-not-on-disk"
GZIP = b"\x1f\x8b"
# What this server says of a path that it does not serve.
_PATH_TOLD = re.compile(r"there is no (/\S*)")


@dataclass(frozen=True, slots=True)
class Known:
    """What the operator's machine knows of its own server: the keys on its disk, by key ID, in unpadded base64."""

    verify_keys: Mapping[str, str]


def judge_connections(
    connections: Sequence[ConnectionFacts], server_name: str, known: Known | None
) -> Iterator[Finding]:
    """Findings on every address, as far as each was asked. What is the same of several addresses of a host is told once."""
    working = sum(each.tcp_error is None for each in connections)

    def judged(seen: ConnectionFacts, where: str) -> tuple[Finding, ...]:
        others_work = working > (seen.tcp_error is None)
        return tuple(_judge_connection(seen, server_name, known, others_work=others_work, where=where))

    alike: dict[tuple[Finding, ...], list[ConnectionFacts]] = {}
    for seen in connections:
        alike.setdefault(judged(seen, f"@ {seen.host} port {seen.port}"), []).append(seen)
    for group in alike.values():
        first = group[0]
        yield from judged(first, f"{' and '.join(each.where for each in group)} ({first.host})")


def _judge_connection(
    seen: ConnectionFacts, server_name: str, known: Known | None, *, others_work: bool, where: str
) -> Iterator[Finding]:
    """Findings on one address. others_work: another address of the server can be reached; where: what to call it."""
    yield from _secure_connection(seen, where, others_work=others_work)
    if seen.version is not None:
        yield from _http_findings(seen, server_name, known, where)


def _secure_connection(seen: ConnectionFacts, where: str, *, others_work: bool) -> Iterator[Finding]:
    """Findings on TCP, TLS and the certificates."""
    if seen.tcp_error is not None:
        yield _tcp_finding(seen, seen.tcp_error, where, others_work=others_work)
        return
    yield ok("tcp", f"connecting to {where}", "open")
    if seen.tls is None:
        return
    if seen.tls.chain is None:
        yield _tls_finding(seen.tls, seen.tls_name, where)
        return
    yield ok("tls", f"TLS with {where}", f"{seen.tls.version}, {seen.tls.cipher}")
    now = datetime.datetime.fromtimestamp(seen.seen_at_ms / 1000, datetime.UTC)
    yield from judge_chain(seen.tls.chain, seen.tls_name, now, where)


def _tcp_finding(
    seen: ConnectionFacts, tcp_error: tuple[str, str], where: str, *, others_work: bool
) -> Finding:
    kind, words = tcp_error
    looked_at = f"connecting to {where}"
    if kind == "blocked":
        return skipped("tcp-blocked", looked_at, f"not tried: {words}")
    if ipaddress.ip_address(seen.address).is_loopback and others_work:
        return note("loopback-unused", looked_at, f"{words}; this machine has other addresses of its own")
    if ipaddress.ip_address(seen.address).version == 6 and others_work:
        return warning(
            "ipv6-broken",
            looked_at,
            words,
            "servers try IPv6 first and lose time: make the server listen there, or take the AAAA record "
            "away",
        )
    port = seen.port
    remedies = {
        "refused": f"nothing listens there: start the server, or correct the port (now {port}) in listeners, the delegation or "
        "the port forwarding",
        "timeout": f"something drops the packets: open port {port} (TCP) in the firewall of this machine, of the provider and of "
        "the router",
        "unreachable": "there is no route to this address: is it still this machine's? Correct the DNS",
    }
    level = warning if others_work else problem
    return level(f"tcp-{kind}", looked_at, words, remedies[kind])


def _tls_finding(tls: TLSFacts, tls_name: str, where: str) -> Finding:
    looked_at = f"TLS with {where}"
    found = tls.error or "no handshake"
    if tls.speaks_plain_http:
        return problem(
            "tls-plain-http",
            looked_at,
            "plain HTTP is spoken there",
            "set tls: true for this port in listeners, or `listen PORT ssl` in the proxy",
        )
    if tls.old_version is not None:
        return problem(
            "tls-too-old",
            looked_at,
            f"only {tls.old_version} is spoken, which servers refuse",
            "allow TLS 1.2 and 1.3 (nginx: ssl_protocols TLSv1.2 TLSv1.3)",
        )
    if "unrecognized name" in found or "handshake failure" in found:
        return problem(
            "tls-unknown-name",
            looked_at,
            found,
            f"the server has no certificate for {tls_name}: it must answer to that name too",
        )
    return problem(
        "tls-failed",
        looked_at,
        found,
        "look at the log of whatever holds the certificate; does something else use this port?",
    )


def _http_findings(
    seen: ConnectionFacts, server_name: str, known: Known | None, where: str
) -> Iterator[Finding]:
    version = _asked(seen.version, VERSION, where)
    if isinstance(version, Finding):
        yield version
        return
    yield _version_finding(version, where)
    keys = _asked(seen.keys, KEYS, where)
    if isinstance(keys, Finding):
        yield keys
        return
    yield from _key_findings(keys, server_name, known, seen.seen_at_ms, where)
    yield from _clock_finding(version, seen.seen_at_ms, where)


def _asked(fetched: Fetch | None, path: str, where: str) -> HTTPAnswer | Finding:
    """The answer of a Matrix server; else the finding on what came in its place."""
    looked_at = f"GET {path} at {where}"
    if fetched is None:
        return skipped("http-not-asked", looked_at, "what is above comes first")
    if fetched.answer is None:
        if fetched.stage == "timeout":
            return problem(
                "http-timeout",
                looked_at,
                fetched.error or "",
                "it accepts connections and does not answer: is the server behind the proxy running, or "
                "overloaded?",
            )
        return problem("http-failed", looked_at, fetched.error or "", PROXY_REMEDY)
    answer = fetched.answer
    if answer.status < 300 and isinstance(answer.json, dict):
        return answer
    if answer.body.startswith(GZIP) and "content-encoding" not in answer.headers:
        return problem(
            "gzip-unannounced",
            looked_at,
            f"a compressed answer that does not say so{f' by {answer.server:.60}' if answer.server else ''}",
            "the proxy compresses and takes the Content-Encoding header away: switch its compression off for /_matrix",
        )
    if answer.is_matrix and isinstance(answer.json, dict):
        arrived = _PATH_TOLD.search(str(answer.json.get("error", "")))
        if arrived and (rewrites := compare_targets(path, arrived[1])):
            return problem(
                rewrites[0].code, looked_at, rewrites[0].found, rewrites[0].remedy_for(made_by(answer))
            )
        return problem(
            "http-not-served",
            looked_at,
            f"status {answer.status} {answer.json['errcode']}: {answer.json.get('error', '')!s:.200}",
            "a Matrix server answers, and does not know this path: names of the listener's resources "
            "must have federation, and the proxy must not change paths",
        )
    return judge_error_page(answer, looked_at)


def _version_finding(answer: HTTPAnswer, where: str) -> Finding:
    looked_at = f"GET {VERSION} at {where}"
    server = answer.json.get("server")
    if isinstance(server, dict) and isinstance(server.get("name"), str):
        return ok("version", looked_at, f"{server['name']:.60} {server.get('version', '')!s:.60}")
    return warning(
        "version-missing",
        looked_at,
        "no name and version of the server",
        "does this path reach the server itself?",
    )


def _key_findings(
    answer: HTTPAnswer, server_name: str, known: Known | None, now_ms: int, where: str
) -> Iterator[Finding]:
    looked_at = f"GET {KEYS} at {where}"
    named = answer.json.get("server_name")
    if named != server_name:
        yield problem(
            "keys-of-another-server",
            looked_at,
            f"the keys of {named!r:.200}",
            f"another server answers for {server_name}: correct the delegation, the proxy's target, or "
            "server_name in homeserver.yaml",
        )
        return
    try:
        keys = parse_server_keys(answer.json, now_ms, server_name)
    except InvalidKeys as error:
        yield problem(
            "keys-invalid",
            looked_at,
            error.reason,
            "the answer was changed on its way, or the server is broken: nobody can check what it signs",
        )
        return
    ids = ", ".join(sorted(key.key_id for key in keys.keys if not key.is_old))
    if keys.valid_until <= now_ms:
        yield problem(
            "keys-expired",
            looked_at,
            "the answer is out of date (valid_until_ts lies in the past)",
            "a cache in front of the server keeps it for too long, or a clock is wrong",
        )
    elif keys.valid_until < now_ms + HOUR_MS:
        yield note("keys-expire-soon", looked_at, "the answer is valid for less than an hour")
    else:
        yield ok("keys", looked_at, f"signed, with {ids}")
    if known is not None:
        yield _on_disk(answer, known, looked_at)


def _on_disk(answer: HTTPAnswer, known: Known, looked_at: str) -> Finding:
    published = {
        key_id: entry.get("key")
        for key_id, entry in answer.json.get("verify_keys", {}).items()
        if isinstance(entry, dict)
    }
    for key_id, key in known.verify_keys.items():
        if published.get(key_id) == key:
            continue
        found = (
            f"{key_id} is published with another key"
            if key_id in published
            else f"{key_id} is not published, but {', '.join(sorted(published))}"
        )
        return problem(
            KEYS_NOT_ON_DISK,
            looked_at,
            found,
            "another process, or an old one, answers: restart the server; or signing_key_path names "
            "another file than the one it started with",
        )
    return ok("keys-on-disk", looked_at, "the key is the one in signing_key_path")


def _clock_finding(answer: HTTPAnswer, now_ms: int, where: str) -> Iterator[Finding]:
    date = answer.headers.get("date")
    if date is None:
        return
    try:
        theirs = parsedate_to_datetime(date).timestamp() * 1000
    except (ValueError, OverflowError):
        return
    difference = theirs - now_ms
    looked_at = f"the clock of {where}"
    if abs(difference) < CLOCK_NOTE_MS:
        yield ok("clock", looked_at, "right")
        return
    found = f"{abs(difference) / 1000:.0f} s {'ahead of' if difference > 0 else 'behind'} this machine's"
    if abs(difference) < CLOCK_PROBLEM_MS:
        yield note(
            "clock-off",
            looked_at,
            found,
            "let both machines set their clocks by NTP (timedatectl set-ntp true)",
        )
    else:
        yield problem(
            "clock-wrong",
            looked_at,
            found,
            "events get wrong times and keys seem expired: set the clock by NTP (timedatectl set-ntp "
            "true) on the machine that is wrong",
        )
