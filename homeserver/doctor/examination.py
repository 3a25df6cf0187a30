"""Looks at a server step by step, as the discovery of the specification goes, and judges what was seen.

Spec: https://spec.matrix.org/v1.19/server-server-api/#server-discovery
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from unpaddedbase64 import encode_base64

from homeserver.certificate_files import CertificateFiles
from homeserver.core.canonical_json import encode_canonical
from homeserver.core.identifiers import is_valid_server_name, parse_server_name
from homeserver.doctor import echo
from homeserver.doctor.facts import Asked, ClientFacts, ConnectionFacts, Echo, Facts, Fetch, Lookup
from homeserver.doctor.findings import Finding, Level, Section, skipped, worst
from homeserver.doctor.judge_arrivals import judge_arrivals
from homeserver.doctor.judge_certificate_files import judge_certificate_files
from homeserver.doctor.judge_clients import TOO_LARGE, judge_clients
from homeserver.doctor.judge_connections import (
    KEYS,
    KEYS_NOT_ON_DISK,
    VERSION,
    Known,
    judge_connections,
)
from homeserver.doctor.judge_discovery import (
    NEW_SERVICE,
    OLD_SERVICE,
    judge_delegation,
    judge_hosts,
    judge_missing_delegation,
    judge_name,
    judge_srv,
)
from homeserver.doctor.judge_listeners import judge_listeners, without_consequences
from homeserver.doctor.probes import Probes, now_ms
from homeserver.federation.addresses import AddressFilter, is_ip_literal
from homeserver.federation.authentication import authorization_header
from homeserver.federation.discovery import (
    Answer,
    Candidate,
    Destination,
    DiscoveryError,
    FetchWellKnown,
    LookUpSRV,
    Question,
    SRVAnswer,
    WellKnownAnswer,
    discover,
)
from homeserver.federation.own_keys import OwnKeys
from homeserver.federation.well_known import parse_well_known, well_known_url

MAX_ADDRESSES = 16
MAX_URL = 2_000
MOST_SENT_BYTES = 100 * 2**20
HTTPS_PORT = 443
LONG_POLL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Own:
    """What the operator's machine knows of its own server.

    upload_bytes: max_upload_size; long_poll_s: how long the long poll is held, 0 to leave out that and the upload, which take long;
    is_delegated: whether the server itself delegates by .well-known (serve_server_wellknown), so that others never look further;
    listeners: where it listens, as URLs for this machine; certificate_files: None where it has none to serve, or makes or obtains
    its certificate itself.
    """

    keys: OwnKeys
    public_baseurl: str
    upload_bytes: int
    long_poll_s: float = LONG_POLL_SECONDS
    is_delegated: bool = False
    listeners: tuple[str, ...] = ()
    certificate_files: CertificateFiles | None = None

    @property
    def tls_ports(self) -> frozenset[int]:
        """Where it speaks TLS."""
        listeners = map(urlsplit, self.listeners)
        return frozenset(each.port or HTTPS_PORT for each in listeners if each.scheme == "https")

    @property
    def known(self) -> Known:
        """The keys on disk."""
        return Known({key_id: encode_base64(key.encode()) for key_id, key in self.keys.verify_keys.items()})


@dataclass(slots=True)
class Examination:
    """What was seen of a server, and what it means."""

    facts: Facts
    sections: list[Section] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """All findings, in their order."""
        return [finding for section in self.sections for finding in section.findings]

    @property
    def problems(self) -> list[Finding]:
        """Those because of which something does not work."""
        return [finding for finding in self.findings if finding.level is Level.PROBLEM]

    @property
    def federation_findings(self) -> list[Finding]:
        """All but what concerns clients alone."""
        return [each for section in self.sections if section.title != CLIENTS for each in section.findings]

    @property
    def federation_ok(self) -> bool:
        """Whether servers can come."""
        return worst(self.federation_findings) is not Level.PROBLEM


MACHINE, NAME, DELEGATION, ADDRESSES, CONNECTION, ARRIVALS, CLIENTS = (
    "This machine",
    "Server name",
    "Delegation",
    "Addresses",
    "Connection",
    "What a proxy does to requests",
    "Clients",
)


class Examiner:
    """Examines servers."""

    def __init__(self, probes: Probes, reachable: AddressFilter, own: Own | None = None) -> None:
        """`reachable`: the addresses that other servers would connect to; own: for our own server, what this machine knows of it.

        Closes nothing: whoever made `probes` does.
        """
        self._probes = probes
        self._reachable = reachable
        self._own = own

    async def examine(self, server_name: str) -> Examination:
        """Look at everything. Never raises for what is wrong with the server: that is what the findings are for."""
        made = Examination(Facts(server_name))
        await self._machine(made)
        await self._examine(made)
        self._certificate_files(made)
        made.sections = without_consequences(made.sections)
        return made

    async def _examine(self, made: Examination) -> None:
        server_name = made.facts.server_name
        made.sections.append(Section(NAME, list(judge_name(server_name))))
        if not is_valid_server_name(server_name):
            return
        found = await self._discover(made)
        if found is None:
            why = "what is above comes first"
            made.sections.append(
                Section(CONNECTION, [skipped("connection", "connecting to the server", why)])
            )
            return
        await self._connect(made, found)
        await self._arrivals(made)
        await self._clients(made)

    # --- this machine ---------------------------------------------------------

    async def _machine(self, made: Examination) -> None:
        """Whether our own server runs: before it does, the rest cannot be right. And the certificate that it is to serve."""
        if self._own is None or not self._own.listeners:
            return
        if self._own.certificate_files is not None:
            looked_at = await self._probes.certificate_files(self._own.certificate_files)
            made.facts.certificate_files = looked_at
        made.facts.listeners = list(await asyncio.gather(*map(self._probes.listener, self._own.listeners)))
        made.sections.append(Section(MACHINE, list(judge_listeners(made.facts.listeners))))

    def _certificate_files(self, made: Examination) -> None:
        """Judged last, because the discovery says for which name the certificate has to be; told first."""
        files = made.facts.certificate_files
        if files is None or self._own is None:
            return
        told = {each.code for each in made.findings}
        findings = judge_certificate_files(files, made.facts, self._own.tls_ports, told)
        made.sections[0].findings[:0] = findings

    # --- discovery ------------------------------------------------------------

    async def _discover(self, made: Examination) -> Destination | None:
        facts = made.facts
        steps = discover(facts.server_name, random.random)
        found = None
        try:
            question = next(steps)
            while True:
                answer = await self._answer(question, facts)
                if facts.well_known and not facts.delegated and self._own and self._own.is_delegated:
                    facts.asked = Asked(parse_server_name(facts.server_name).host, frozenset({HTTPS_PORT}))
                    findings = await self._undelegated(facts, facts.well_known)
                    made.sections.append(Section(DELEGATION, findings))
                    return None
                question = steps.send(answer)
        except StopIteration as finished:
            found = finished.value
        except DiscoveryError as error:
            facts.discovery_error = error.reason
        if facts.srv and facts.srv[-1].records and facts.srv[-1].name.startswith(NEW_SERVICE):
            facts.old_srv = await self._probes.srv(facts.srv[-1].name.replace(NEW_SERVICE, OLD_SERVICE, 1))
        if found is not None:
            facts.asked = Asked(found.tls_name, frozenset(candidate.port for candidate in found.candidates))
        hosts = dict.fromkeys(candidate.host for candidate in found.candidates) if found else {}
        for host in hosts:
            facts.hosts[host] = await self._host(host)
        delegation = [*judge_delegation(facts, now_ms() / 1000), *judge_srv(facts)]
        if delegation:
            made.sections.append(Section(DELEGATION, delegation))
        made.sections.append(Section(ADDRESSES, list(judge_hosts(facts, self._reachable))))
        return found

    async def _answer(self, question: Question, facts: Facts) -> Answer:
        match question:
            case FetchWellKnown(hostname):
                return await self._well_known(hostname, facts)
            case LookUpSRV(name):
                lookup = await self._probes.srv(name)
                facts.srv.append(lookup)
                return SRVAnswer(lookup.records, lookup.error or ("found" if lookup.records else "no record"))

    async def _well_known(self, hostname: str, facts: Facts) -> WellKnownAnswer:
        url = well_known_url(hostname, self._probes.settings.well_known_port)
        facts.well_known = fetched = await self._probes.fetch(url)
        facts.well_known_reason = fetched.error or ""
        if fetched.answer is not None and fetched.error is None:
            if fetched.answer.status != 200:
                facts.well_known_reason = f"status {fetched.answer.status}"
            else:
                try:
                    facts.delegated = parse_well_known(fetched.answer.body)
                except ValueError as error:
                    facts.well_known_reason = str(error)
        return WellKnownAnswer(facts.delegated, facts.well_known_reason or "found")

    async def _undelegated(self, facts: Facts, fetched: Fetch) -> list[Finding]:
        """Why our own delegation does not get out: the certificate of the web site, the proxy, or what it says."""
        url = urlsplit(fetched.url)
        host, port = url.hostname or "", url.port or 443
        lookup = await self._probes.addresses(host)
        facts.hosts[host] = [lookup]
        findings = list(judge_hosts(facts, self._reachable))
        wanted = [
            ConnectionFacts(host, each, port, host, url.netloc) for each in lookup.values[:MAX_ADDRESSES]
        ]
        facts.delegating = list(await asyncio.gather(*map(self._reach, wanted)))
        findings += judge_connections(facts.delegating, facts.server_name, None)
        if worst(findings) is not Level.PROBLEM:
            findings += judge_missing_delegation(fetched, facts.well_known_reason)
        return findings

    async def _host(self, host: str) -> list[Lookup]:
        """Its addresses as others find them: the DNS counts for more than the /etc/hosts of this machine."""
        addresses, records = await asyncio.gather(self._probes.addresses(host), self._probes.look_up(host))
        asked = [each for each in records if each.kind != "CNAME"]
        in_dns = tuple(value for each in asked for value in each.values)
        has_answer = in_dns or not any(each.error for each in asked)
        if (
            not addresses.values
            or is_ip_literal(host)
            or not has_answer
            or set(in_dns) & set(addresses.values)
        ):
            return [addresses, *records]
        from_file = Lookup(host, "hosts file", addresses.values)
        return [Lookup(host, "addresses", in_dns or addresses.values), from_file, *records]

    # --- connections ----------------------------------------------------------

    async def _connect(self, made: Examination, found: Destination) -> None:
        facts = made.facts
        wanted = [
            ConnectionFacts(candidate.host, address, candidate.port, found.tls_name, found.host_header)
            for candidate in found.candidates
            for address in self._addresses_of(facts, candidate)
        ]
        facts.connections = list(await asyncio.gather(*map(self._look, wanted[:MAX_ADDRESSES])))
        known = self._own.known if self._own else None
        findings = judge_connections(facts.connections, facts.server_name, known)
        made.sections.append(Section(CONNECTION, list(findings)))

    def _addresses_of(self, facts: Facts, candidate: Candidate) -> Iterable[str]:
        return next(each.values for each in facts.hosts[candidate.host] if each.kind == "addresses")

    async def _reach(self, wanted: ConnectionFacts) -> ConnectionFacts:
        return replace(await self._probes.connect(wanted), seen_at_ms=now_ms())

    async def _look(self, wanted: ConnectionFacts) -> ConnectionFacts:
        seen = await self._reach(wanted)
        if seen.tls is None or seen.tls.chain is None:
            return seen
        version = await self._probes.ask(seen, VERSION)
        keys = await self._probes.ask(seen, KEYS) if version.answer is not None else None
        return replace(seen, version=version, keys=keys, seen_at_ms=now_ms())

    # --- our own server -------------------------------------------------------

    async def _arrivals(self, made: Examination) -> None:
        """Requests of our own through the first address that works."""
        found = next(
            ((each, each.keys.answer) for each in made.facts.connections if each.keys and each.keys.answer),
            None,
        )
        if self._own is None or found is None:
            return
        line, keys = found
        if not isinstance(keys.json, dict) or "verify_keys" not in keys.json:
            return
        if any(each.code == KEYS_NOT_ON_DISK for each in made.findings):
            return  # then no probe of ours is believed
        for what, tail in echo.PROBES:
            made.facts.echoes.append(await self._echo(self._own.keys, line, what, echo.ECHO + tail))
            if made.facts.echoes[0].arrived is None:
                break
        made.sections.append(Section(ARRIVALS, list(judge_arrivals(made.facts.echoes))))

    async def _echo(self, keys: OwnKeys, line: ConnectionFacts, what: str, target: str) -> Echo:
        body = encode_canonical(echo.signed_probe(keys.server_name, keys.signing_key, now_ms()))
        header = authorization_header(
            "PUT", target, keys.server_name, keys.server_name, body, keys.signing_key
        )
        headers = {"Authorization": header, "Content-Type": "application/json"}
        answer = await self._probes.ask(line, target, method="PUT", headers=headers, body=body)
        arrived = answer.answer.json if answer.answer and answer.answer.status == 200 else None
        return Echo(
            what, "PUT", target, line.host_header, answer, arrived if isinstance(arrived, Mapping) else None
        )

    # --- clients --------------------------------------------------------------

    async def _clients(self, made: Examination) -> None:
        name = parse_server_name(made.facts.server_name)
        if name.is_ip_literal and self._own is None:
            return
        url = well_known_url(name.host, self._probes.settings.well_known_port, "client")
        fetched = await self._probes.fetch(url)
        base_url = _base_url(fetched) or (self._own.public_baseurl if self._own else None)
        facts = ClientFacts(fetched, _base_url(fetched))
        is_known_broken = base_url is not None and self._is_known_broken(made, base_url)
        if base_url is not None and not is_known_broken:
            facts = await self._through(base_url.rstrip("/"), facts)
        section = Section(CLIENTS, list(judge_clients(facts)))
        if is_known_broken:
            section.add(
                skipped(
                    "client-same-address",
                    f"what clients get at {base_url}",
                    "see above: it is the address of servers too",
                )
            )
        made.sections.append(section)

    def _is_known_broken(self, made: Examination, base_url: str) -> bool:
        """Whether clients are sent to where servers met a problem already: one fault is told once."""
        if not any(
            each.level is Level.PROBLEM
            for section in made.sections
            if section.title in (ADDRESSES, CONNECTION)
            for each in section.findings
        ):
            return False
        url = urlsplit(base_url)
        hosts = {(each.host, each.port) for each in made.facts.connections} | {
            (each.tls_name, each.port) for each in made.facts.connections
        }
        return (url.hostname, url.port or 443) in hosts or url.hostname in made.facts.hosts

    async def _through(self, base_url: str, facts: ClientFacts) -> ClientFacts:
        """What a client gets at the base URL."""
        versions = await self._probes.fetch(f"{base_url}/_matrix/client/versions", follow=False)
        facts = replace(facts, versions=versions)
        if versions.answer is None or versions.answer.status != 200:
            return facts
        asks = {
            "Origin": "https://app.element.io",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = await self._probes.fetch(
            f"{base_url}/_matrix/client/v3/sync", method="OPTIONS", headers=asks, follow=False
        )
        facts = replace(facts, preflight=preflight)
        if self._own is None:
            return facts
        upload = await self._probes.announce(f"{base_url}/_matrix/media/v3/upload", self._own.upload_bytes)
        facts = replace(facts, upload=upload, upload_bytes=self._own.upload_bytes)
        if not self._own.long_poll_s:
            return facts
        facts = await self._upload(base_url + echo.UPLOAD, self._own, facts)
        body = encode_canonical(
            echo.signed_probe(self._own.keys.server_name, self._own.keys.signing_key, now_ms())
        )
        held = await self._probes.fetch(
            f"{base_url}{echo.WAIT}?seconds={self._own.long_poll_s:g}",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=body,
            follow=False,
            seconds=self._own.long_poll_s + 15,
        )
        return replace(facts, long_poll=held, long_poll_s=self._own.long_poll_s)

    async def _upload(self, url: str, own: Own, facts: ClientFacts) -> ClientFacts:
        """An upload that is sent, unless it was refused when it was announced; a small one first, to know what the size changes."""
        if facts.upload is None or facts.upload.answer is None or facts.upload.answer.status == TOO_LARGE:
            return facts
        size = min(own.upload_bytes, MOST_SENT_BYTES)
        head = echo.upload_head(own.keys.server_name, own.keys.signing_key, now_ms())
        small = await self._probes.upload(url, head, len(head))
        if size < len(head) or small.answer is None or small.answer.status != 200:
            return facts
        return replace(facts, sent=await self._probes.upload(url, head, size), sent_bytes=size)


def _base_url(fetched: Fetch) -> str | None:
    """The base_url of m.homeserver, if it is an address of the web."""
    answer: Any = fetched.answer.json if fetched.answer and fetched.answer.status == 200 else None
    homeserver = answer.get("m.homeserver") if isinstance(answer, dict) else None
    url = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    return url if isinstance(url, str) and len(url) <= MAX_URL and _is_web_address(url) else None


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        return False
