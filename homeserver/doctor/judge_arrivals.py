"""Findings on what a proxy does to requests: the doctor's own, sent through the public address. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from homeserver.doctor.error_pages import made_by
from homeserver.doctor.facts import Echo
from homeserver.doctor.findings import Finding, ok, problem, skipped, warning
from homeserver.federation.proxy_lines import lines
from homeserver.federation.rewrites import compare_targets

REFUSED = "request-refused-on-the-way"
LOOKED_AT = "signed requests to ourselves through the public address"


def judge_arrivals(echoes: Sequence[Echo]) -> Iterator[Finding]:
    """One finding for each thing that is changed on the way, however many requests show it."""
    if not echoes:
        return
    first = echoes[0]
    if first.arrived is None:
        yield _unanswered(first)
        return
    findings: dict[str, Finding] = {}
    for echo in echoes:
        for finding in _changes(echo):
            findings.setdefault(finding.code, finding)
    if any(code.startswith("path-") for code in findings):
        findings.pop(REFUSED, None)  # it follows: what was decoded is no valid request any more
    yield from findings.values()
    if not findings:
        yield ok(
            "arrives-unchanged",
            LOOKED_AT,
            "path, query, Host, body and Authorization arrive as they were sent",
        )


def _changes(echo: Echo) -> Iterator[Finding]:
    looked_at = f"a request with {echo.what}"
    if echo.arrived is None:
        status = echo.answer.answer.status if echo.answer.answer else None
        found = f"answered with status {status}" if status else echo.answer.error or "no answer"
        yield problem(
            REFUSED,
            looked_at,
            f"{found}, while a plain one arrives",
            f"the proxy refuses or reroutes such paths: {lines('path')}; a web application firewall: none for /_matrix",
        )
        return
    maker = made_by(echo.answer.answer) if echo.answer.answer else ""
    for rewrite in compare_targets(echo.target, str(echo.arrived.get("target", ""))):
        yield problem(rewrite.code, looked_at, rewrite.found, rewrite.remedy_for(maker))
    if _without_port(str(echo.arrived.get("host", ""))) != _without_port(echo.host):
        yield warning(
            "host-changed",
            looked_at,
            f"Host {echo.host} arrived as {echo.arrived.get('host')}",
            f"pass the Host header on: {lines('host', maker)}",
        )
    if not echo.arrived.get("authorization"):
        yield problem(
            "authorization-lost",
            looked_at,
            "the Authorization header is missing",
            f"pass the Authorization header on: {lines('authorization', maker)}",
        )
    yield from _client_address(echo, echo.arrived)


def _client_address(echo: Echo, arrived: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the server knows who the client is: else all of them share their rate limits."""
    looked_at = "the address of clients, for the log and rate limits"
    address = str(arrived.get("address", ""))
    told = [hop.strip() for header in arrived.get("forwarded_for", ()) for hop in str(header).split(",")]
    if told and address not in told:
        yield warning(
            "client-address-unused",
            looked_at,
            f"the proxy says {', '.join(told)}, and the server takes {address} for the client",
            "set x_forwarded: true for this listener, and trusted_proxies if the proxy is on another machine",
        )
    elif not told and _is_loopback(address) and not _is_loopback(urlsplit(echo.answer.url).hostname or ""):
        yield warning(
            "client-address-lost",
            looked_at,
            f"a proxy on this machine passes requests on without it: they come from {address}",
            f"have it say so, and set x_forwarded: true for the listener: {lines('client address')}",
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    """The port says nothing: a proxy may add or drop it."""
    return re.sub(r":\d+\Z", "", host).lower()


def _unanswered(echo: Echo) -> Finding:
    answer = echo.answer.answer
    if answer is None:
        return skipped("arrival-unknown", LOOKED_AT, echo.answer.error or "no answer")
    if answer.is_matrix and isinstance(answer.json, dict) and answer.json.get("errcode") == "M_FORBIDDEN":
        return problem(
            "body-changed",
            LOOKED_AT,
            "the body that arrived is not the one that was sent",
            "the proxy changes or cuts bodies: no body filter, no character set conversion and no "
            "compression of requests for /_matrix",
        )
    return problem(
        "not-this-server",
        LOOKED_AT,
        f"status {answer.status}: what answers at the public address is not the server of this configuration",
        "is another server, or an older version of this one, running there? Does the path arrive at all?",
    )
