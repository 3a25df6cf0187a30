"""Server name to host, port, `Host` header and certificate name: the decisions, without IO.

`discover` is a generator. It yields what it needs to know (`FetchWellKnown`, `LookUpSRV`), is sent the
answer, and returns a `Destination` that carries every step it took with the reason, so that a failure can be
explained to people.

Spec: https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from homeserver.core.identifiers import ServerName, is_valid_server_name, parse_server_name
from homeserver.federation.names import SRVRecord

DEFAULT_PORT = 8448


@dataclass(frozen=True)
class FetchWellKnown:
    """Asks for `https://<hostname>/.well-known/matrix/server`."""

    hostname: str


@dataclass(frozen=True)
class WellKnownAnswer:
    """The valid `m.server`, or None; `reason` says what was found."""

    delegated: str | None
    reason: str


@dataclass(frozen=True)
class LookUpSRV:
    """Asks for the SRV records of a name."""

    name: str


@dataclass(frozen=True)
class SRVAnswer:
    """The records found, or none; `reason` says what was found."""

    records: tuple[SRVRecord, ...]
    reason: str


Question = FetchWellKnown | LookUpSRV
Answer = WellKnownAnswer | SRVAnswer


@dataclass(frozen=True)
class Step:
    """One step of the discovery. `section` is its number in the specification's list ("3.4").

    `action` is what was looked at, `outcome` what was found, `decided` whether this step gave the
    destination.
    """

    section: str
    action: str
    outcome: str
    decided: bool = False


@dataclass(frozen=True)
class Candidate:
    """Where to connect: a host name or an IP literal (without brackets), and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class Destination:
    """How to reach a server. `candidates` are to be tried in their order.

    `host_header` is the Host header of requests. `tls_name` is the name (or IP literal) that the certificate
    must be valid for; it is sent as SNI if it is a name. `delegated` is the name of a valid .well-known, if
    there was one.
    """

    server_name: str
    candidates: tuple[Candidate, ...]
    host_header: str
    tls_name: str
    steps: tuple[Step, ...]
    delegated: str | None = None


class DiscoveryError(Exception):
    """The server name leads nowhere. `steps` are those taken."""

    def __init__(self, reason: str, steps: Sequence[Step] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps = tuple(steps)


Discovery = Generator[Question, Answer, Destination]


def discover(server_name: str, random: Callable[[], float]) -> Discovery:
    """Find where `server_name` is. `random` gives numbers in [0, 1) for the choice among SRV records of equal
    priority.

    Raises DiscoveryError if the name is no server name or its service is declared absent.
    """
    if not is_valid_server_name(server_name):
        raise DiscoveryError(f"{server_name!r} is not a valid server name")
    name = parse_server_name(server_name)
    steps: list[Step] = []

    # "1. If the hostname is an IP literal, then that IP address should be used, together with the given port
    # number, or 8448 if no port is given."
    # "2. If the hostname is not an IP literal, and the server name includes an explicit port, resolve the
    # hostname to an IP address using CNAME, AAAA or A records."
    direct = _without_lookup(name, "1", "2", steps)
    if direct is not None:
        return Destination(server_name, (direct,), server_name, direct.host, tuple(steps))

    # "3. If the hostname is not an IP literal, a regular HTTPS request is made to
    # https://<hostname>/.well-known/matrix/server"
    answer = yield FetchWellKnown(name.host)
    assert isinstance(answer, WellKnownAnswer)
    url = f"https://{name.host}/.well-known/matrix/server"
    if answer.delegated is None:
        steps.append(Step("3", url, answer.reason))
        candidates = yield from _by_srv(name.host, ("4", "5", "6"), random, steps)
        return Destination(server_name, candidates, name.host, name.host, tuple(steps))

    steps.append(Step("3", url, f"delegates to {answer.delegated} ({answer.reason})"))
    delegated = parse_server_name(answer.delegated)
    # 3.1 and 3.2, as 1 and 2 above; "Requests must be made with a Host header containing the IP address,
    # including the port if one was provided", "with a Host header of <delegated_hostname>:<delegated_port>".
    direct = _without_lookup(delegated, "3.1", "3.2", steps)
    if direct is not None:
        candidates = (direct,)
    else:
        # 3.3 to 3.5: "a Host header containing the <delegated_hostname>"
        candidates = yield from _by_srv(delegated.host, ("3.3", "3.4", "3.5"), random, steps)
    tls_name = direct.host if direct is not None else delegated.host
    return Destination(
        server_name, candidates, answer.delegated, tls_name, tuple(steps), delegated=answer.delegated
    )


def _without_lookup(name: ServerName, literal: str, port: str, steps: list[Step]) -> Candidate | None:
    if name.is_ip_literal:
        candidate = Candidate(_canonical_literal(name.host), DEFAULT_PORT if name.port is None else name.port)
        steps.append(Step(literal, "IP literal", f"{candidate.host} port {candidate.port}", decided=True))
        return candidate
    if name.port is not None:
        steps.append(Step(port, "explicit port", f"{name.host} port {name.port}", decided=True))
        return Candidate(name.host, name.port)
    return None


def _canonical_literal(host: str) -> str:
    """The IP literal as every library reads it. The grammar allows leading zeros, which some take for octal."""
    return host if ":" in host else ".".join(str(int(number)) for number in host.split("."))


def _by_srv(
    hostname: str, sections: tuple[str, str, str], random: Callable[[], float], steps: list[Step]
) -> Generator[Question, Answer, tuple[Candidate, ...]]:
    for section, service in zip(sections, ("_matrix-fed._tcp", "_matrix._tcp"), strict=False):
        query = f"{service}.{hostname}"
        answer = yield LookUpSRV(query)
        assert isinstance(answer, SRVAnswer)
        if not answer.records:
            steps.append(Step(section, f"SRV {query}", answer.reason))
            continue
        ordered = order_srv(answer.records, random)
        # RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
        candidates = tuple(Candidate(record.target, record.port) for record in ordered if record.target)
        if not candidates:
            reason = f"the SRV record {query} says that there is no such service"
            steps.append(Step(section, f"SRV {query}", "the target is '.'", decided=True))
            raise DiscoveryError(reason, steps)
        outcome = ", ".join(f"{candidate.host} port {candidate.port}" for candidate in candidates)
        deprecated = " (deprecated service name)" if service == "_matrix._tcp" else ""
        steps.append(Step(section, f"SRV {query}", outcome + deprecated, decided=True))
        return candidates
    steps.append(Step(sections[2], "default port", f"{hostname} port {DEFAULT_PORT}", decided=True))
    return (Candidate(hostname, DEFAULT_PORT),)


def order_srv(records: Iterable[SRVRecord], random: Callable[[], float]) -> list[SRVRecord]:
    """The records in the order in which to try them: by priority, and among equals at random by weight.

    Spec: https://www.rfc-editor.org/rfc/rfc2782 ("Weight")
    """
    remaining = sorted(
        records, key=lambda record: (record.priority, record.weight, record.target, record.port)
    )
    ordered: list[SRVRecord] = []
    while remaining:
        group = [record for record in remaining if record.priority == remaining[0].priority]
        # "compute the sum of the weights of those RRs, and with each RR associate the running sum in the
        # selected order. Then choose a uniform random number between 0 and the sum computed (inclusive), and
        # select the RR whose running sum value is the first in the selected order which is greater than or
        # equal to the random number"
        threshold = random() * sum(record.weight for record in group)
        running = 0
        chosen = group[-1]
        for record in group:
            running += record.weight
            if running >= threshold:
                chosen = record
                break
        ordered.append(chosen)
        remaining.remove(chosen)
    return ordered
