"""Findings on the way from the name to addresses: the name, the delegation, the DNS. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from homeserver.core.identifiers import is_valid_server_name, parse_server_name
from homeserver.doctor.certificates import is_local_host
from homeserver.doctor.error_pages import NO_BACKEND, judge_error_page
from homeserver.doctor.facts import Facts, Fetch, Lookup, SRVLookup
from homeserver.doctor.findings import Finding, note, ok, problem, warning
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.well_known import MAX_BODY_BYTES, MAX_LIFETIME, MIN_LIFETIME, lifetime

WELL_KNOWN_REMEDY = (
    'serve exactly {"m.server": "HOST:PORT"} there, or nothing (404) if the name itself is the server'
)
NEW_SERVICE, OLD_SERVICE = "_matrix-fed._tcp.", "_matrix._tcp."
HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def judge_name(server_name: str) -> Iterator[Finding]:
    """Whether the name is one at all."""
    looked_at = "the server name"
    if not is_valid_server_name(server_name):
        yield problem(
            "name-invalid",
            looked_at,
            f"{server_name!r:.300} is not a server name",
            "a server name is a host name or an address with or without a port, such as example.org: no "
            "https://, no path, no spaces",
        )
        return
    name = parse_server_name(server_name)
    if name.is_ip_literal:
        yield warning(
            "name-is-an-address",
            looked_at,
            f"{server_name} is an IP address",
            "a name can move to another machine, an address cannot: prefer one for a new server",
        )
    elif is_local(server_name):
        yield note(
            "name-is-local",
            looked_at,
            f"{server_name} means something in this network alone",
            "servers elsewhere cannot find it",
        )
    else:
        yield ok("name", looked_at, server_name)
    if name.host != name.host.lower():
        yield warning(
            "name-has-capitals",
            looked_at,
            server_name,
            "other servers compare names letter by letter: use lower case",
        )


def is_local(server_name: str) -> bool:
    """Whether a name means nothing outside of a machine or network."""
    name = parse_server_name(server_name)
    return not name.is_ip_literal and is_local_host(name.host)


def judge_delegation(facts: Facts, now_s: float) -> Iterator[Finding]:
    """The answer of /.well-known/matrix/server. None is fine: then SRV records and port 8448 count."""
    fetched = facts.well_known
    if fetched is None:
        return
    looked_at = fetched.url
    if fetched.answer is None or fetched.stage == "redirect":
        yield _unreachable_well_known(fetched, looked_at)
        return
    answer = fetched.answer
    if len(fetched.hops) > 1:
        yield note("well-known-redirected", looked_at, "redirected to " + " and to ".join(fetched.hops[1:]))
    if facts.delegated is not None:
        yield ok("well-known", looked_at, f"delegates to {facts.delegated}")
        seconds = lifetime(answer.headers, now_s)
        if seconds <= MIN_LIFETIME:
            yield note(
                "well-known-not-cached",
                looked_at,
                f"may be kept for {seconds:.0f} s at most: it is asked for again and again",
            )
        elif seconds >= MAX_LIFETIME:
            yield note(
                "well-known-cached-long",
                looked_at,
                f"may be kept for {seconds / 3600:.0f} hours: a change takes as long to be known everywhere",
            )
        return
    if answer.status == 404:
        yield ok("well-known-none", looked_at, "not found, so the name itself is the server")
    elif answer.status != 200:
        yield warning(
            "well-known-status",
            looked_at,
            f"answered with status {answer.status}{_by(answer.server)}",
            f"servers take it for no delegation, and ask again later: {WELL_KNOWN_REMEDY}",
        )
    elif answer.body[:200].lstrip().lower().startswith(HTML_STARTS):
        yield problem(
            "well-known-is-html",
            looked_at,
            f"a web page rather than JSON{_by(answer.server)}",
            f"the web site answers every path with a page: {WELL_KNOWN_REMEDY}",
        )
    elif len(answer.body) > MAX_BODY_BYTES:
        yield problem(
            "well-known-too-large", looked_at, f"more than {MAX_BODY_BYTES} bytes", WELL_KNOWN_REMEDY
        )
    else:
        yield problem("well-known-invalid", looked_at, facts.well_known_reason, WELL_KNOWN_REMEDY)


def judge_missing_delegation(fetched: Fetch, reason: str) -> Iterator[Finding]:
    """Our own delegation, which did not come through though the connection is fine."""
    answer = fetched.answer
    if answer is not None and answer.status in NO_BACKEND:
        yield judge_error_page(answer, fetched.url)
        return
    yield problem(
        "well-known-not-ours",
        fetched.url,
        reason or "no delegation",
        "serve_server_wellknown is on, so this page has to reach the server: let the proxy pass /.well-known/matrix on too",
    )


def _by(server: str) -> str:
    return f" (by {server:.60})" if server else ""


def _unreachable_well_known(fetched: Fetch, looked_at: str) -> Finding:
    found = fetched.error or ""
    if fetched.stage == "redirect":
        return problem(
            "well-known-redirect-loop",
            looked_at,
            found,
            "redirect straight to the HTTPS page that has the JSON, or serve it there",
        )
    if fetched.stage == "tls":
        return warning(
            "well-known-certificate",
            looked_at,
            found,
            "if a delegation is meant to be there, the web server needs a certificate for this name; "
            "servers now act as if there were none",
        )
    return note("well-known-unreachable", looked_at, f"{found}; so there is no delegation")


def judge_srv(facts: Facts) -> Iterator[Finding]:
    """SRV records: both names of the service, and where they lead."""
    for lookup in facts.srv:
        looked_at = f"SRV {lookup.name}"
        if lookup.error is not None:
            yield warning(
                "srv-failed",
                looked_at,
                lookup.error,
                "the DNS of this name fails: ask whoever runs it; servers go on as if there were no record",
            )
            continue
        if not lookup.records:
            continue
        targets = _targets(lookup)
        if all(not record.target for record in lookup.records):
            yield problem(
                "srv-absent",
                looked_at,
                "says that there is no such service (target '.')",
                "take the record away, or name the server's host in it",
            )
            continue
        yield ok("srv", looked_at, targets)
        if lookup.name.startswith(OLD_SERVICE):
            yield note(
                "srv-old-name",
                looked_at,
                "the service's old name; new servers look for _matrix-fed._tcp first",
                f"add the same record as {lookup.name.replace(OLD_SERVICE, NEW_SERVICE, 1)}",
            )
        for record in lookup.records:
            yield from _srv_target(record.target, looked_at, facts.hosts)
    new, old = facts.srv[-1] if facts.srv else None, facts.old_srv
    if new and old and old.records and _targets(new) != _targets(old):
        yield warning(
            "srv-names-differ",
            f"SRV {old.name}",
            f"{_targets(old)}, while {new.name} says {_targets(new)}",
            "servers that know only the old name go elsewhere: give both the same records, or take the old one away",
        )


def _targets(lookup: SRVLookup) -> str:
    records = sorted(lookup.records, key=lambda each: (each.priority, -each.weight, each.target, each.port))
    return ", ".join(f"{record.target or '.'} port {record.port}" for record in records)


def _srv_target(target: str, looked_at: str, hosts: dict[str, list[Lookup]]) -> Iterator[Finding]:
    if not target:
        return
    alias = next((each for each in hosts.get(target, ()) if each.kind == "CNAME" and each.values), None)
    if alias is not None:
        yield problem(
            "srv-to-cname",
            looked_at,
            f"its target {target} is an alias (CNAME) of {alias.values[0]}",
            f"name {alias.values[0]} in the record: the target of an SRV record must have addresses of "
            "its own (RFC 2782), and some servers refuse others",
        )


def judge_hosts(facts: Facts, addresses: AddressFilter) -> Iterator[Finding]:
    """The addresses of the hosts that the steps led to."""
    if facts.discovery_error is not None:
        return
    for host, lookups in facts.hosts.items():
        looked_at = f"the addresses of {host}"
        found = next(each for each in lookups if each.kind == "addresses")
        if found.error is not None or not found.values:
            yield _no_address(host, looked_at, found)
            continue
        alias = next((each.values[0] for each in lookups if each.kind == "CNAME" and each.values), None)
        by_alias = f"by way of its alias (CNAME) {alias}: " if alias else ""
        yield ok("dns", looked_at, by_alias + ", ".join(found.values))
        yield from _hosts_file(looked_at, facts.server_name, lookups)
        blocked = [each for each in found.values if addresses.blocking_network(each)]
        if blocked and not is_local(facts.server_name):
            yield _private(looked_at, blocked, every=len(blocked) == len(found.values))
        if all(ipaddress.ip_address(each).version == 6 for each in found.values):
            yield warning(
                "dns-ipv6-only",
                looked_at,
                "only IPv6",
                "servers without IPv6 cannot come: add an IPv4 address (an A record) if you can have one",
            )


def _hosts_file(looked_at: str, server_name: str, lookups: list[Lookup]) -> Iterator[Finding]:
    """What this machine alone believes of its name: Debian writes the own host name into /etc/hosts."""
    from_file = next((each for each in lookups if each.kind == "hosts file"), None)
    if from_file is None or is_local(server_name):
        return
    said = f"{', '.join(from_file.values)} in /etc/hosts of this machine"
    if any(each.values for each in lookups if each.kind in ("A", "AAAA")):
        remedy = "others ask the DNS, and so does the doctor; take the line out of /etc/hosts if nothing here needs it"
        yield note("hosts-file-differs", looked_at, f"{said}, and something else in the DNS", remedy)
    else:
        yield warning(
            "hosts-file-only",
            looked_at,
            f"{said}, and no address in the DNS",
            "other servers cannot find it: add an A record, unless their /etc/hosts have it too",
        )


def _no_address(host: str, looked_at: str, found: Lookup) -> Finding:
    if found.exists is None:
        return problem(
            "dns-failed",
            looked_at,
            found.error or "no answer",
            "the DNS could not be asked: look at /etc/resolv.conf here, and at the name's DNS servers",
        )
    return problem(
        "dns-missing",
        looked_at,
        found.error or "none",
        f"add an A record (and an AAAA record) for {host} at whoever keeps your DNS",
    )


def _private(looked_at: str, blocked: list[str], *, every: bool) -> Finding:
    found = ", ".join(blocked) + (" is" if len(blocked) == 1 else " are") + " not of the Internet"
    remedy = (
        "put the public address into the DNS; in a private network set ip_range_allowlist on every server"
    )
    return (problem if every else warning)("dns-private-address", looked_at, found, remedy)
