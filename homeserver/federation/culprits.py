"""Why a signature does not fit: the request is tried again as it may have been before a proxy changed it. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.federation.authentication import XMatrix, request_bytes
from homeserver.federation.rewrites import Rewrite, as_sent

MOST_BYTES = 256 * 1024
"""Of a body: each try encodes it again."""
MOST_TRIES = 40
BODY_LOST = Rewrite(
    "body-lost",
    "the body was lost on the way",
    "the proxy drops bodies of PUT or POST requests for /_matrix: a redirect in between does that, or a filter",
)
BODY_ADDED = Rewrite(
    "body-added",
    "the request was sent without a body and arrived with one",
    "let the proxy pass requests on as they are",
)
METHOD_CHANGED = Rewrite(
    "method-changed",
    "the request had another method when it was sent",
    "no redirects between a proxy and this server",
)


DESTINATION_UNSIGNED = Rewrite(
    "destination-unsigned",
    "the signature was made without the destination that the Authorization header names",
    "nothing that a proxy does: the server that sent it signs what it does not say, or says what it does not sign",
)


def fits(header: XMatrix, method: str, uri: str, content: Any, key: VerifyKey) -> bool:
    """Whether the signature of a request is good for the destination that its header names."""
    try:
        body = None if content is None else encode_canonical(content)
        return _Tried(header, key, decode_base64(header.signature)).fits(method, uri, body)
    except (CanonicalJSONError, ValueError):
        return False


def misdirection(destination: str, server_name: str, host: str) -> str:
    """What leads a request for the server `destination` to this one. host: its Host header: whom the sender connected to."""
    told = f"It came with Host {host:.300}: " if host else ""
    if _host_of(host) == _host_of(server_name) != _host_of(destination):
        return f"{told}so the delegation of {destination:.300} (.well-known or SRV), or a proxy that changes Host, leads here"
    return (
        f"{told}the DNS, the .well-known or the proxy of {destination:.300} leads to this server; or it is meant for this one, and "
        f"the sender has signed the name of a host in place of the server name {server_name}"
    )


def _host_of(name: str) -> str:
    return re.sub(r":\d+\Z", "", name).lower()


@dataclass(frozen=True, slots=True)
class _Tried:
    """A signature, to be tried on requests."""

    header: XMatrix
    key: VerifyKey
    signature: bytes

    def fits(self, method: str, target: str, body: bytes | None, *, destination: bool = True) -> bool:
        """Whether this is what was signed. destination: with that of the header."""
        signed_for = self.header.destination if destination else None
        try:
            message = request_bytes(method, target, self.header.origin, signed_for, body)
            self.key.verify(message, self.signature)
        except (CryptoError, ValueError):
            return False
        return True


def culprit(
    header: XMatrix, method: str, uri: str, content: Any, key: VerifyKey
) -> tuple[Rewrite, str] | None:
    """What was done to a request whose signature does not fit, and its target as it was sent.

    None when no usual change explains it, or the body is so large that trying would cost too much.
    """
    try:
        tried = _Tried(header, key, decode_base64(header.signature))
        body = None if content is None else encode_canonical(content)
    except (CanonicalJSONError, ValueError):
        return None
    if body is not None and len(body) > MOST_BYTES:
        return None
    for rewrite, target in islice(as_sent(uri), MOST_TRIES):
        if tried.fits(method, target, body):
            return rewrite, target
    if body is not None and tried.fits(method, uri, None):
        return BODY_ADDED, uri
    if body is None and method in ("PUT", "POST") and tried.fits(method, uri, b"{}"):
        return BODY_LOST, uri
    if any(tried.fits(other, uri, body) for other in ("GET", "PUT", "POST") if other != method):
        return METHOD_CHANGED, uri
    if header.destination is not None and tried.fits(method, uri, body, destination=False):
        return DESTINATION_UNSIGNED, uri
    return None
