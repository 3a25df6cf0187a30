"""Request authentication: the `X-Matrix` header and what it signs. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.identifiers import is_valid_server_name
from homeserver.core.signing import key_id_of, signature_of

_SCHEME = re.compile(r"x-matrix[ \t]+", re.IGNORECASE | re.ASCII)
# A value is quoted, with backslash pairs, or bare. "For compatibility with older servers, the recipient
# should allow colons to be included in values without requiring the value to be enclosed in quotes":
# everything up to a comma or white space is taken, which also lets base64 signatures and IPv6 literals
# through.
_PARAMETER = re.compile(
    r"""[ \t]*(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*"""
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]*))[ \t]*(?:,|$)""",
    re.DOTALL | re.ASCII,
)
_MAX_HEADER_LENGTH = 4096
# What bytes that are not UTF-8 become on their way here.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class XMatrix:
    """The parameters of an `Authorization: X-Matrix` header. `destination` is None if an older server left it
    out.
    """

    origin: str
    destination: str | None
    key_id: str
    signature: str


class AuthenticationError(Exception):
    """A request is not authentic. `reason` says why, for the other server's operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SignatureMismatch(AuthenticationError):
    """The signature does not fit the request as it arrived."""


def signed_object(
    method: str, uri: str, origin: str, destination: str | None, content: Any = None
) -> dict[str, Any]:
    """The JSON object that a request's signature is made over, without signatures.

    `uri` is the target as sent: path from `/_matrix` on and query, percent-encoded. `content` is the parsed
    body, None if there is none. `destination` is left out if None, as the servers that do not send it do.
    """
    signed: dict[str, Any] = {"method": method, "uri": uri, "origin": origin}
    if destination is not None:
        signed["destination"] = destination
    if content is not None:
        signed["content"] = content
    return signed


def request_bytes(
    method: str, uri: str, origin: str, destination: str | None, content: bytes | None
) -> bytes:
    """The canonical JSON of `signed_object`, with `content` given as canonical JSON already: it is not parsed
    again.
    """
    # The other keys all sort after "content".
    rest = encode_canonical(signed_object(method, uri, origin, destination))
    return rest if content is None else b'{"content":' + content + b"," + rest[1:]


def authorization_header(
    method: str,
    uri: str,
    origin: str,
    destination: str,
    content: bytes | None,
    signing_key: SigningKey,
) -> str:
    """The value of the Authorization header of a request. `content` is the body as canonical JSON.

    "For compatibility with older servers, the sender should only include one space after X-Matrix, only use
    lower-case names, avoid using backslashes in parameter values, and avoid including whitespace around the
    commas".
    """
    message = request_bytes(method, uri, origin, destination, content)
    signature, key_id = signature_of(message, signing_key), key_id_of(signing_key)
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}"'


def parse_authorization(header: str) -> XMatrix:
    """Parse an Authorization header, in the lenient forms that servers have sent.

    Raises AuthenticationError with the reason.
    """
    if len(header) > _MAX_HEADER_LENGTH:
        raise AuthenticationError(f"the Authorization header is longer than {_MAX_HEADER_LENGTH} bytes")
    if _LONE_SURROGATE.search(header):  # what no JSON and no database can hold
        raise AuthenticationError("the Authorization header is not UTF-8")
    scheme = _SCHEME.match(header)
    if scheme is None:
        raise AuthenticationError("the Authorization header does not have the scheme X-Matrix")
    parameters = _parse_parameters(header[scheme.end() :].strip(" \t"))
    missing = [name for name in ("origin", "key", "sig") if not parameters.get(name)]
    if missing:
        raise AuthenticationError(f"the Authorization header lacks {', '.join(missing)}")
    if not is_valid_server_name(parameters["origin"]):
        raise AuthenticationError("the origin in the Authorization header is not a server name")
    return XMatrix(parameters["origin"], parameters.get("destination"), parameters["key"], parameters["sig"])


def claimed_origin(authorization: Sequence[str]) -> str | None:
    """Who a request says that it comes from; None when it does not say so in the right form. Nothing is proven by it."""
    for header in authorization[:1]:
        try:
            return parse_authorization(header).origin
        except AuthenticationError:
            return None
    return None


def _parse_parameters(text: str) -> dict[str, str]:
    """The parameters by lower-case name. "Unknown parameters are ignored"; one given twice is refused."""
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        if text[position] in ", \t":  # RFC 9110, 5.6.1.2: empty list elements are ignored
            position += 1
            continue
        match = _PARAMETER.match(text, position)
        if match is None:
            raise AuthenticationError("the parameters of the Authorization header are not name=value pairs")
        name = match["name"].lower()
        if name in parameters:
            raise AuthenticationError(f"the Authorization header has more than one {name}")
        quoted = match["quoted"]
        parameters[name] = (
            match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        )
        position = match.end()
    return parameters


def check_destination(header: XMatrix, server_name: str) -> None:
    """Raise AuthenticationError if the request was made for another server than `server_name`.

    "If this property is included, but the value does not match the receiving server's name, the receiving
    server must deny the request with an HTTP status code 401 Unauthorized."
    """
    if header.destination is not None and header.destination != server_name:
        raise AuthenticationError(
            f"the request is signed for {header.destination!r:.300}, this server is {server_name!r}"
        )


def verify_request(
    header: XMatrix,
    method: str,
    uri: str,
    server_name: str,
    content: Any,
    keys: Mapping[str, VerifyKey],
) -> None:
    """Check that `header` signs this request to `server_name`, with `keys` of the origin by key ID.

    `content` is the parsed body, None if there was none. Raises AuthenticationError with the reason.
    """
    check_destination(header, server_name)
    key = keys.get(header.key_id)
    if key is None:
        raise AuthenticationError(f"the key {header.key_id!r:.100} of {header.origin} is not known")
    try:
        signature = decode_base64(header.signature)
    except ValueError as error:
        raise AuthenticationError("the signature is not base64") from error
    try:
        message = encode_canonical(signed_object(method, uri, header.origin, header.destination, content))
        key.verify(message, signature)
    except CanonicalJSONError as error:
        raise AuthenticationError(f"the body is not canonical JSON: {error.reason}") from error
    except (CryptoError, ValueError) as error:
        raise SignatureMismatch(
            f"the signature with {header.key_id} of {header.origin} does not fit the request {method} {uri:.200}: "
            "a proxy may have changed the path, the query or the body"
        ) from error
