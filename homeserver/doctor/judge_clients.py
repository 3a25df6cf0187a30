"""Findings on the way of clients: the discovery, CORS, long polls, uploads. Pure.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-discovery
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from homeserver.doctor.error_pages import made_by
from homeserver.doctor.facts import ClientFacts, Fetch, HTTPAnswer
from homeserver.doctor.findings import Finding, note, ok, problem, warning
from homeserver.federation.proxy_lines import lines

WELL_KNOWN_REMEDY = 'serve {"m.homeserver": {"base_url": "https://..."}} there, as application/json'
CORS_REMEDY = (
    "add the header Access-Control-Allow-Origin: * to this answer "
    "(nginx: add_header Access-Control-Allow-Origin * always)"
)
TOO_LARGE = 413
PROXY_REMEDY = "the proxy must pass /_matrix/client on unchanged (docs/reverse-proxy.md)"


def judge_clients(facts: ClientFacts) -> Iterator[Finding]:
    """Findings, in the order in which a client goes."""
    yield from _well_known(facts)
    if facts.versions is None:
        return
    yield from _versions(facts.versions)
    if facts.preflight is not None:
        yield _preflight(facts.preflight)
    if facts.long_poll is not None:
        yield _long_poll(facts.long_poll, facts.long_poll_s)
    if facts.upload is not None:
        yield _upload(facts, facts.upload)


def _well_known(facts: ClientFacts) -> Iterator[Finding]:
    fetched = facts.well_known
    looked_at = fetched.url
    if fetched.answer is None:
        yield note(
            "client-well-known-unreachable",
            looked_at,
            f"{fetched.error}; clients must be told the address by hand",
        )
        return
    answer = fetched.answer
    if answer.status == 404:
        yield note(
            "client-well-known-none",
            looked_at,
            "not found; clients must be told the address by hand",
            WELL_KNOWN_REMEDY,
        )
        return
    if facts.base_url is None:
        found = f"status {answer.status}" if answer.status != 200 else "no base_url of m.homeserver in it"
        yield problem("client-well-known-invalid", looked_at, found, WELL_KNOWN_REMEDY)
        return
    yield ok("client-well-known", looked_at, f"clients go to {facts.base_url}")
    if answer.headers.get("access-control-allow-origin") != "*":
        yield problem(
            "client-well-known-cors",
            looked_at,
            "without Access-Control-Allow-Origin: *, clients in browsers cannot read it",
            CORS_REMEDY,
        )
    if urlsplit(facts.base_url).scheme != "https":
        yield warning(
            "client-base-url-insecure",
            looked_at,
            f"base_url {facts.base_url} is not HTTPS",
            "give an https:// address: browsers refuse others",
        )


def _versions(fetched: Fetch) -> Iterator[Finding]:
    looked_at = f"GET {fetched.url}"
    answer = fetched.answer
    if answer is None:
        yield problem(
            "client-unreachable",
            looked_at,
            fetched.error or "no answer",
            "clients go there: correct public_baseurl, or make that address reach the server",
        )
        return
    if (
        answer.status != 200
        or not isinstance(answer.json, dict)
        or not isinstance(answer.json.get("versions"), list)
    ):
        yield problem(
            "client-not-matrix", looked_at, f"status {answer.status}, and no list of versions", PROXY_REMEDY
        )
        return
    yield ok(
        "client-versions",
        looked_at,
        f"up to {answer.json['versions'][-1]!s:.20}" if answer.json["versions"] else "none",
    )
    if answer.headers.get("access-control-allow-origin") != "*":
        yield problem(
            "client-cors",
            looked_at,
            "the header Access-Control-Allow-Origin: * is missing",
            "the proxy takes the server's CORS headers away: let it pass them on",
        )


def _preflight(fetched: Fetch) -> Finding:
    looked_at = f"OPTIONS {fetched.url}, as browsers ask first"
    answer = fetched.answer
    allowed = answer.headers.get("access-control-allow-headers", "").lower() if answer else ""
    if answer is not None and answer.status < 300 and "authorization" in allowed:
        return ok("client-preflight", looked_at, "allowed")
    found = f"status {answer.status}" if answer else fetched.error or "no answer"
    return problem(
        "client-preflight",
        looked_at,
        f"{found}; clients in browsers do not get further",
        "let the proxy pass OPTIONS requests on to the server",
    )


def _long_poll(fetched: Fetch, seconds: float) -> Finding:
    looked_at = f"a request that the server holds for {seconds:.0f} s, as /sync does"
    answer = fetched.answer
    if answer is not None and answer.status == 200:
        return ok("long-poll", looked_at, "answered")
    if answer is not None and answer.is_matrix:
        return note("long-poll-unknown", looked_at, f"refused by the server with status {answer.status}")
    found = f"cut off with status {answer.status}" if answer else f"cut off: {fetched.error}"
    return problem(
        "long-poll-cut",
        looked_at,
        found,
        f"raise the proxy's time-outs to two minutes: {lines('time-out', made_by(answer) if answer else '')}",
    )


def _upload(facts: ClientFacts, announced: Fetch) -> Finding:
    looked_at = f"an upload of {_mib(facts.upload_bytes)} (max_upload_size)"
    if announced.answer is None:
        return note("upload-unknown", looked_at, announced.error or "no answer")
    if facts.sent is not None:
        return _sent_upload(facts, facts.sent, looked_at)
    if announced.answer.status == TOO_LARGE:
        return _upload_limit(facts, announced.answer, looked_at)
    return ok("upload-limit", looked_at, "not refused when it is announced; it was not sent")


def _sent_upload(facts: ClientFacts, sent: Fetch, looked_at: str) -> Finding:
    """Of an upload that was sent: some proxies notice only while they read that it is too large for them, or fail then."""
    answer = sent.answer
    if sent.stage == "timeout":
        return note("upload-unknown", looked_at, f"sent {_mib(facts.sent_bytes)} of it: {sent.error}")
    if answer is not None and answer.json == {"bytes": facts.sent_bytes}:
        return ok("upload-limit", looked_at, f"{_mib(facts.sent_bytes)} arrive")
    if answer is not None and answer.is_matrix and answer.status != 200:
        return note("upload-unknown", looked_at, f"refused by the server with status {answer.status}")
    if answer is not None and answer.status == TOO_LARGE:
        return _upload_limit(facts, answer, looked_at)
    return problem(
        "upload-cut",
        looked_at,
        f"cut off while it was sent ({f'status {answer.status}' if answer else sent.error}), and a small one arrives",
        f"the proxy's log says why. If it is a limit, lower max_upload_size or raise it: {_limits(facts, answer)}. Else the proxy "
        "has no room for what it passes on, or may not write where it keeps that",
    )


def _upload_limit(facts: ClientFacts, answer: HTTPAnswer, looked_at: str) -> Finding:
    return problem(
        "upload-limit",
        looked_at,
        "refused by something in front of the server (413)",
        f"lower max_upload_size, or raise the proxy's limit: {_limits(facts, answer)}",
    )


def _limits(facts: ClientFacts, answer: HTTPAnswer | None) -> str:
    size = facts.upload_bytes
    return lines("upload", made_by(answer) if answer else "", size=size // 2**20, bytes=size)


def _mib(size: int) -> str:
    return f"{size / 2**20:.4g} MiB"
