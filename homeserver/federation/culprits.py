"""Why a signature does not fit: the request is tried again as it may have been before a proxy changed it. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

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


def culprit(
    header: XMatrix, method: str, uri: str, content: Any, key: VerifyKey
) -> tuple[Rewrite, str] | None:
    """What was done to a request whose signature does not fit, and its target as it was sent.

    None when no usual change explains it, or the body is so large that trying would cost too much.
    """
    try:
        signature = decode_base64(header.signature)
        body = None if content is None else encode_canonical(content)
    except (CanonicalJSONError, ValueError):
        return None
    if body is not None and len(body) > MOST_BYTES:
        return None

    def fits(method: str, target: str, body: bytes | None) -> bool:
        try:
            key.verify(request_bytes(method, target, header.origin, header.destination, body), signature)
        except (CryptoError, ValueError):
            return False
        return True

    for rewrite, target in islice(as_sent(uri), MOST_TRIES):
        if fits(method, target, body):
            return rewrite, target
    if body is not None and fits(method, uri, None):
        return BODY_ADDED, uri
    if body is None and method in ("PUT", "POST") and fits(method, uri, b"{}"):
        return BODY_LOST, uri
    if any(fits(other, uri, body) for other in ("GET", "PUT", "POST") if other != method):
        return METHOD_CHANGED, uri
    return None
