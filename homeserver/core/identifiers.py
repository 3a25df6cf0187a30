"""The grammars of user IDs, room IDs, event IDs, room aliases, server names and mxc URIs.

What comes from elsewhere is held against what the specification makes every server accept (historical user
IDs too); what is made here is held against the narrower grammar for new identifiers.

Spec: https://spec.matrix.org/v1.19/appendices/#identifier-grammar
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final, NamedTuple

MAX_IDENTIFIER_BYTES: Final = 255
"""User IDs, room IDs, event IDs and aliases, with their sigil and domain, in UTF-8."""

_SERVER_NAME = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[0-9A-Za-z.-]{1,255}))(?::(?P<port>[0-9]{1,5}))?"
)
# "They should consist of a series of labels separated by `.`": so `..` is no name, and no path either.
_LABELS = re.compile(r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*\.?")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_COMPLIANT_LOCALPART = re.compile(r"[!-9;-~]+")
_HASH = re.compile(r"[A-Za-z0-9+/]{43}")
_URL_SAFE_HASH = re.compile(r"[A-Za-z0-9_-]{43}")
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]{1,255}")
_NAMESPACED_ID = re.compile(r"[a-z][a-z0-9._-]{0,254}")


class ServerName(NamedTuple):
    """A server name in its parts. `host` of an IPv6 literal has no brackets; `port` is None when not
    given."""

    host: str
    port: int | None
    is_ip_literal: bool


class MxcURI(NamedTuple):
    """`mxc://<server_name>/<media_id>`."""

    server_name: str
    media_id: str

    def __str__(self) -> str:
        return f"mxc://{self.server_name}/{self.media_id}"


@lru_cache(maxsize=8192)
def _server_name(name: str) -> ServerName | str:
    """The parts of the server name, or the reason why it is not one."""
    match = _SERVER_NAME.fullmatch(name)
    if match is None:
        return "a server name is a DNS name or an IP address (IPv6 in brackets) and an optional port"
    port = int(match["port"]) if match["port"] is not None else None
    if port is not None and port > 65535:
        return f"the port {port} is over 65535"
    ipv6 = match["ipv6"]
    if ipv6 is not None:
        try:
            ipaddress.IPv6Address(ipv6)
        except ValueError as error:
            return f"not an IPv6 address: {error}"
        return ServerName(ipv6, port, True)
    host = match["name"]
    if _IPV4.fullmatch(host):
        # "IPv4 literals must be a sequence of four decimal numbers in the range 0 to 255." Leading zeros are
        # not ruled out by the grammar, so this does not use ipaddress, which refuses them.
        if any(int(number) > 255 for number in host.split(".")):
            return f"{host} is not an IPv4 address: a number is over 255"
        return ServerName(host, port, True)
    if _LABELS.fullmatch(host) is None:
        return "a label of the DNS name is empty"
    return ServerName(host, port, False)


def parse_server_name(name: str) -> ServerName:
    """The parts of a server name; raises ValueError with the reason.

    Spec: https://spec.matrix.org/v1.19/appendices/#server-name
    """
    parsed = _server_name(name)
    if isinstance(parsed, str):
        raise ValueError(f"invalid server name {name[:300]!r}: {parsed}")
    return parsed


def is_valid_server_name(name: object) -> bool:
    """Whether this is a server name by the specification's grammar."""
    return isinstance(name, str) and len(name) <= 300 and isinstance(_server_name(name), ServerName)


def domain_of(identifier: str) -> str:
    """The server name of a user ID, alias, or a room or event ID of the older form: all after the first
    colon.

    Raises ValueError when there is none, as in the room IDs of room version 12.
    """
    _, colon, domain = identifier.partition(":")
    if not colon or not domain:
        raise ValueError(f"{identifier[:300]!r} has no domain")
    return domain


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def _fits(identifier: str) -> bool:
    """At most 255 bytes, and encodable: no lone surrogates."""
    if len(identifier) > MAX_IDENTIFIER_BYTES:
        return False
    if identifier.isascii():
        return True
    try:
        return len(identifier.encode()) <= MAX_IDENTIFIER_BYTES
    except UnicodeEncodeError:
        return False


def _is_localpart_and_domain(identifier: object, sigil: str, *, empty_localpart: bool) -> bool:
    if not isinstance(identifier, str) or not identifier.startswith(sigil) or not _fits(identifier):
        return False
    localpart, colon, domain = identifier[1:].partition(":")
    return bool(colon and (localpart or empty_localpart) and "\0" not in localpart) and is_valid_server_name(
        domain
    )


def is_valid_user_id(user_id: object) -> bool:
    """Whether servers MUST accept this as a user ID, historical ones included: any localpart, even an empty
    one, without `:` and NUL.

    Spec: https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    return _is_localpart_and_domain(user_id, "@", empty_localpart=True)


def is_compliant_user_id(user_id: object) -> bool:
    """Whether the user ID may be shown to clients outside of events: its localpart is U+0021 to U+007E, not
    empty.

    Spec: https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    return (
        is_valid_user_id(user_id)
        and isinstance(user_id, str)
        and _COMPLIANT_LOCALPART.fullmatch(localpart_of(user_id)) is not None
    )


def validate_localpart(localpart: str) -> None:
    """Raise ValueError, with the reason, if this cannot be the localpart of a new user.

    Spec: https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    if not localpart:
        raise ValueError("a user name must not be empty")
    if _LOCALPART.fullmatch(localpart) is None:
        raise ValueError("a user name can only contain the characters a-z, 0-9 and . _ = - / +")
    if len(localpart) > MAX_IDENTIFIER_BYTES:
        raise ValueError(f"a user name must not be longer than {MAX_IDENTIFIER_BYTES} bytes")


def new_user_id(localpart: str, server_name: str) -> str:
    """The user ID of a new user of ours; raises ValueError with the reason if it would not be a valid one."""
    validate_localpart(localpart)
    user_id = f"@{localpart}:{server_name}"
    if len(user_id.encode()) > MAX_IDENTIFIER_BYTES:
        raise ValueError(f"the user ID {user_id[:40]}... would be longer than {MAX_IDENTIFIER_BYTES} bytes")
    return user_id


def is_valid_room_alias(alias: object) -> bool:
    """Whether this is a room alias.

    Spec: https://spec.matrix.org/v1.19/appendices/#room-aliases
    """
    return _is_localpart_and_domain(alias, "#", empty_localpart=True)


def is_domain_room_id(room_id: object) -> bool:
    """Whether this is a room ID of room versions 1 to 11, `!opaque_id:domain`."""
    return _is_localpart_and_domain(room_id, "!", empty_localpart=True)


def is_hash_room_id(room_id: object) -> bool:
    """Whether this is a room ID of room version 12 and later: the create event's ID with `!` for `$`."""
    return (
        isinstance(room_id, str)
        and room_id.startswith("!")
        and _URL_SAFE_HASH.fullmatch(room_id, 1) is not None
    )


def is_valid_room_id(room_id: object) -> bool:
    """Whether this is a room ID of any room version.

    Spec: https://spec.matrix.org/v1.19/appendices/#room-ids
    """
    return is_hash_room_id(room_id) or is_domain_room_id(room_id)


def is_domain_event_id(event_id: object) -> bool:
    """Whether this is an event ID of room versions 1 and 2, `$opaque_id:domain`."""
    return _is_localpart_and_domain(event_id, "$", empty_localpart=False)


def is_hash_event_id(event_id: object) -> bool:
    """Whether this is an event ID of room version 3: a hash in unpadded base64."""
    return isinstance(event_id, str) and event_id.startswith("$") and _HASH.fullmatch(event_id, 1) is not None


def is_url_safe_hash_event_id(event_id: object) -> bool:
    """Whether this is an event ID of room version 4 and later: a hash in URL-safe unpadded base64."""
    return (
        isinstance(event_id, str)
        and event_id.startswith("$")
        and _URL_SAFE_HASH.fullmatch(event_id, 1) is not None
    )


def is_valid_event_id(event_id: object) -> bool:
    """Whether this can be an event ID of some room version: `$` and at least one character, at most 255
    bytes, no NUL.

    What follows `$` is opaque, as the specification wants event IDs treated.

    Spec: https://spec.matrix.org/v1.19/appendices/#event-ids
    """
    return (
        isinstance(event_id, str)
        and len(event_id) > 1
        and event_id.startswith("$")
        and "\0" not in event_id
        and _fits(event_id)
    )


def is_valid_media_id(media_id: object) -> bool:
    """Whether this can be a media ID: the characters that cannot leave a directory or a URL's path segment.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#security-considerations-5
    """
    return isinstance(media_id, str) and _MEDIA_ID.fullmatch(media_id) is not None


def parse_mxc(uri: str) -> MxcURI:
    """The parts of an mxc URI; raises ValueError with the reason.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris
    """
    scheme, separator, rest = uri.partition("://")
    server_name, slash, media_id = rest.partition("/")
    if scheme != "mxc" or not separator or not slash:
        raise ValueError(f"{uri[:300]!r} is not an mxc URI: it must be mxc://<server name>/<media ID>")
    if not is_valid_server_name(server_name):
        raise ValueError(f"{uri[:300]!r} is not an mxc URI: {server_name[:300]!r} is not a server name")
    if not is_valid_media_id(media_id):
        raise ValueError(f"{uri[:300]!r} is not an mxc URI: the media ID may only contain A-Z a-z 0-9 _ -")
    return MxcURI(server_name, media_id)


def is_valid_mxc(uri: object) -> bool:
    """Whether this is an mxc URI."""
    if not isinstance(uri, str):
        return False
    try:
        parse_mxc(uri)
    except ValueError:
        return False
    return True


def is_opaque_id(identifier: object) -> bool:
    """Whether this follows the opaque identifier grammar (device IDs and transaction IDs of ours, tokens,
    ...).

    Spec: https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
    """
    return isinstance(identifier, str) and _OPAQUE_ID.fullmatch(identifier) is not None


def is_namespaced_id(identifier: object) -> bool:
    """Whether this follows the common namespaced identifier grammar.

    Spec: https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar
    """
    return isinstance(identifier, str) and _NAMESPACED_ID.fullmatch(identifier) is not None
