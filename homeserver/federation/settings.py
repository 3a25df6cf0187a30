"""What outbound federation can be told. Plain data; the composition root fills it from homeserver.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from homeserver.federation.addresses import AddressFilter

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class OutboundSettings:
    """Settings of `FederationClient`. Times are seconds, sizes bytes."""

    addresses: AddressFilter = field(default_factory=AddressFilter)  # ip_range_blocklist, ip_range_allowlist
    domain_whitelist: frozenset[str] | None = None  # federation_domain_whitelist; None: everybody
    verify_certificates: bool = True  # federation_verify_certificates
    custom_ca_files: tuple[Path, ...] = ()  # federation_custom_ca_list, beside the system's authorities
    dns_servers: tuple[str, ...] = ()  # instead of the system's: "ip" or "ip:port"
    well_known_port: int = 443  # the specification's; another one only for tests
    connect_timeout: float = 10.0  # TCP and TLS, for each candidate
    request_timeout: float = 60.0  # everything, unless a request says otherwise
    max_response_bytes: int = 16 * MEGABYTE  # decompressed, unless a request says otherwise
    concurrent_requests: int = 16  # to one destination at a time; more wait
    connections: int = 500  # busy ones to all destinations together; more wait
    keepalive: float = 60.0  # how long an idle connection stays open
    user_agent: str = "homeserver"
