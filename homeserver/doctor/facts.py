"""What was seen: plain data, from `probes` to the `judge_*` modules and `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from homeserver.certificate_files import UnusableFiles
from homeserver.federation.names import SRVRecord


@dataclass(frozen=True, slots=True)
class Lookup:
    """A DNS question and its answer. error: why there is none; exists: None when the DNS could not be asked.

    kind: CNAME, AAAA, A; "addresses": where to connect; "hosts file": what /etc/hosts says and the DNS does not.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    error: str | None = None
    exists: bool | None = True


@dataclass(frozen=True, slots=True)
class SRVLookup:
    """The SRV records of a service, in the order in which to try them."""

    name: str
    records: tuple[SRVRecord, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """An answer to a request. body: its first bytes, as far as we read; headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any = None

    @property
    def server(self) -> str:
        """What calls itself the server: often a reverse proxy."""
        return self.headers.get("server", "")

    @property
    def is_matrix(self) -> bool:
        """Whether a Matrix server made this answer rather than something in front of it: its errors are JSON with an errcode."""
        return isinstance(self.json, dict) and (self.status < 300 or "errcode" in self.json)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A page that was asked for. hops: the URLs, redirects included. error: why there is no answer, with the stage it came to."""

    url: str
    answer: HTTPAnswer | None = None
    hops: tuple[str, ...] = ()
    stage: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The certificates that a server shows, its own first.

    trust_code: OpenSSL's verify code, 0 when the chain leads to an authority that we trust; trust_message: its words.
    """

    certificates: tuple[x509.Certificate, ...]
    trust_code: int
    trust_message: str


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """A handshake.

    version, cipher: as OpenSSL names them; error: why there was none; old_version: the version with which it works when ours are
    refused.
    """

    chain: Chain | None = None
    version: str = ""
    cipher: str = ""
    error: str | None = None
    old_version: str | None = None
    speaks_plain_http: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """One address and port.

    host: the name that led here; tcp_error: (kind, words), the kind one of refused, timeout, unreachable, blocked.
    """

    host: str
    address: str
    port: int
    tls_name: str
    host_header: str
    tcp_error: tuple[str, str] | None = None
    tls: TLSFacts | None = None
    version: Fetch | None = None
    keys: Fetch | None = None
    seen_at_ms: int = 0

    @property
    def where(self) -> str:
        """address:port, as in a URL."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """A listener of our own, tried from this machine.

    error: why no connection came about; certificates: what it shows, its own first, where it speaks TLS.
    """

    url: str
    error: str | None = None
    certificates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class FilesFacts:
    """The files of our own certificate.

    path: tls_certificate_path; unusable: why they cannot be served; chain: what they would show others, if they can be.
    """

    path: Path
    unusable: UnusableFiles | None = None
    chain: Chain | None = None
    seen_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What other servers ask for, as far as the discovery led: the name that the certificate must be for, at these ports."""

    tls_name: str
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Echo:
    """A request of our own, sent through the public address: what was sent, and what arrived. arrived: None when it did not."""

    what: str
    method: str
    target: str
    host: str
    answer: Fetch
    arrived: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What clients find. base_url: where they are sent to.

    upload: of an upload as large as we allow (upload_bytes), announced; sent: of one of sent_bytes that was sent, None when none
    was, or when a small one does not come through either.
    """

    well_known: Fetch
    base_url: str | None
    versions: Fetch | None = None
    preflight: Fetch | None = None
    long_poll: Fetch | None = None
    long_poll_s: float = 0.0
    upload: Fetch | None = None
    upload_bytes: int = 0
    sent: Fetch | None = None
    sent_bytes: int = 0


@dataclass(slots=True)
class Facts:
    """All that was seen of a server.

    srv: the records that were asked for on the way; old_srv: those of the service's old name, where the way does not need them.
    hosts: the lookups of each host, of which that of the kind "addresses" is where to connect.
    certificate_files: those of our own certificate; asked: None when the discovery led nowhere; delegating: connections to our own
    delegation, which does not come through.
    """

    server_name: str
    well_known: Fetch | None = None
    delegated: str | None = None
    well_known_reason: str = ""
    discovery_error: str | None = None
    srv: list[SRVLookup] = field(default_factory=list)
    old_srv: SRVLookup | None = None
    listeners: list[ListenerFacts] = field(default_factory=list)
    certificate_files: FilesFacts | None = None
    asked: Asked | None = None
    delegating: list[ConnectionFacts] = field(default_factory=list)
    hosts: dict[str, list[Lookup]] = field(default_factory=dict)
    connections: list[ConnectionFacts] = field(default_factory=list)
    echoes: list[Echo] = field(default_factory=list)
