"""The small value types of homeserver.yaml: what may be written, and what the program gets.

Each parser takes what YAML gave and returns the typed value, or raises ValueError with the sentence that says
what is allowed; `convert` adds the path and what was found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from homeserver.core.identifiers import parse_server_name as split_server_name
from homeserver.core.room_versions import ROOM_VERSIONS

_DURATION_UNITS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

Parser = Callable[[Any], Any]


class Duration(int):
    """A length of time in milliseconds. In the file: `5m`, `1h`, `30s`, or a whole number of milliseconds."""

    __slots__ = ()

    @property
    def milliseconds(self) -> int:
        """The duration in whole milliseconds."""
        return int(self)

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return int(self) / 1000


class Size(int):
    """A number of bytes. In the file: `50M`, `512K`, or a whole number of bytes."""

    __slots__ = ()


class Secret(str):
    """A string that does not show itself in logs and reprs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class IPRange(str):
    """An address range in CIDR form, normalised: `ipaddress.ip_network` always takes it."""

    __slots__ = ()


class ServerName(str):
    """The name of a Matrix server: a host name or an address literal, perhaps with a port.

    Spec: https://spec.matrix.org/v1.19/appendices/#server-name
    """

    __slots__ = ()

    @property
    def host(self) -> str:
        """The host, without port; an IPv6 literal without its brackets."""
        return split_server_name(self).host

    @property
    def port(self) -> int | None:
        """The explicit port, None when there is none."""
        return split_server_name(self).port


class RoomVersion(str):
    """A room version that this server implements."""

    __slots__ = ()


class BaseURL(str):
    """An http or https address that ends with a slash."""

    __slots__ = ()


class WebAddress(str):
    """An https address of whatever is there."""

    __slots__ = ()


class DomainName(str):
    """A name in the DNS, in lower case: no address, no port, no wildcard."""

    __slots__ = ()


def parse_duration(value: Any) -> Duration:
    """Read `5m`, `1h` or milliseconds. Raises ValueError with what is allowed."""
    allowed = "a duration such as 500ms, 30s, 5m, 1h, 7d, 4w or 1y, or a whole number of milliseconds"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Duration(value)
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([0-9]+)\s*(ms|[smhdwy])?\s*", value)):
        return Duration(int(match[1]) * _DURATION_UNITS[match[2] or "ms"])
    raise ValueError(allowed)


def parse_size(value: Any) -> Size:
    """Read `50M` or bytes. Raises ValueError with what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Size(value)
    if isinstance(value, str) and (match := re.fullmatch(r"\s*([0-9]+)\s*([KMG]?)(?:i?B)?\s*", value, re.I)):
        return Size(int(match[1]) * _SIZE_UNITS[match[2].upper()])
    raise ValueError("a size such as 512K, 50M or 1G, or a whole number of bytes")


def parse_secret(value: Any) -> Secret:
    """Read a secret: a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("a string that is not empty")
    return Secret(value)


def parse_ip_range(value: Any) -> IPRange:
    """Read an address or a CIDR range."""
    allowed = "an address or a range such as 10.0.0.0/8, 192.0.2.1 or fc00::/7"
    if not isinstance(value, str):
        raise ValueError(allowed)
    try:
        return IPRange(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(allowed) from None


def parse_server_name(value: Any) -> ServerName:
    """Read a server name: `example.org`, `example.org:8448`, `192.0.2.1`, `[2001:db8::1]:8448`."""
    allowed = (
        "a server name such as example.org, matrix.example.org:8448 or [2001:db8::1] (no https://, no /)"
    )
    if not isinstance(value, str):
        raise ValueError(allowed)
    try:
        parts = split_server_name(value)
    except ValueError:
        raise ValueError(allowed) from None
    if parts.port == 0:
        raise ValueError("a port between 1 and 65535 in the server name")
    if value != value.lower():
        raise ValueError("a server name in lower case, since others compare it letter by letter")
    return ServerName(value)


def parse_room_version(value: Any) -> RoomVersion:
    """Read a room version; a bare number is taken as its text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value not in ROOM_VERSIONS:
        raise ValueError("one of " + ", ".join(f'"{version}"' for version in ROOM_VERSIONS))
    return RoomVersion(value)


def parse_base_url(value: Any) -> BaseURL:
    """Read an http(s) address; a missing slash at its end is added."""
    pattern = r"https?://(\[[0-9A-Fa-f:.]+\]|[^/?#\s\[\]@:]+)(:[0-9]{1,5})?(/[^?#\s]*)?"
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError("an address such as https://matrix.example.org/ (https:// or http://, no query)")
    return BaseURL(value if value.endswith("/") else value + "/")


def parse_web_address(value: Any) -> WebAddress:
    """Read an https address."""
    if not isinstance(value, str) or not re.fullmatch(r"https://[^/?#\s@]+(/\S*)?", value):
        raise ValueError("an address such as https://acme-v02.api.letsencrypt.org/directory (https:// only)")
    return WebAddress(value)


def parse_domain_name(value: Any) -> DomainName:
    """Read a name in the DNS; capitals become small."""
    allowed = "a name in the DNS such as matrix.example.org (no address, no port, no *)"
    if not isinstance(value, str) or len(value) > 253:
        raise ValueError(allowed)
    label = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
    name = value.lower()
    if not re.fullmatch(rf"{label}(\.{label})*", name) or name.rpartition(".")[2].isdigit():
        raise ValueError(allowed)
    return DomainName(name)


def parsers(base: Path) -> Mapping[type, Parser]:
    """The parser of each value type. Relative paths are taken from `base`, the configuration's directory."""

    def parse_path(value: Any) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("a path")
        return base / Path(value).expanduser()

    return {
        Duration: parse_duration,
        Size: parse_size,
        Secret: parse_secret,
        IPRange: parse_ip_range,
        ServerName: parse_server_name,
        RoomVersion: parse_room_version,
        BaseURL: parse_base_url,
        WebAddress: parse_web_address,
        DomainName: parse_domain_name,
        Path: parse_path,
    }
