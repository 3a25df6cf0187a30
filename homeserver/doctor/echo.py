"""Requests that the doctor sends to its own server through the public address, and what the server answers: what arrived. Pure.

Whoever holds the server's signing key may ask for it: the body is signed JSON, so a changed path does not matter for that, and a
changed body is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from signedjson.types import SigningKey

from homeserver.core.canonical_json import CanonicalJSONError, decode_json, encode_canonical
from homeserver.core.errors import forbidden
from homeserver.federation.operator_requests import OperatorRequests, operator_request

ECHO = "/_matrix/federation/unstable/homeserver.doctor/echo"
WAIT = "/_matrix/client/unstable/homeserver.doctor/wait"
UPLOAD = "/_matrix/media/unstable/homeserver.doctor/upload"
HEAD_BYTES = 4_096
"""An upload begins with the probe, filled up with spaces to this length; what follows is of no matter."""
MAX_AGE_MS = 300_000
PURPOSE = "doctor"
TEXT = "Grüße, 世界, привет 🏠 \\ \u2028 é"

# What each is for, and a target below ECHO. All that IDs, aliases and state keys can have.
PROBES: tuple[tuple[str, str], ...] = (
    ("a plain path", "/plain"),
    ("percent-encoded sigils (%21, %40, %3A, %24)", "/%21room%3Aexample.org/%40user%3Aexample.org/%24event"),
    ("an encoded slash (%2F)", "/state/with%2Fslash"),
    ("an encoded percent sign (%252F)", "/twice%252Fencoded"),
    ("non-ASCII characters", "/%C3%BCber"),
    ("an empty state key", "/state/"),
    ("a query", "/query?a=%2F%21&b=1%2B1&c=x%20y&a=%40"),
)


def signed_probe(server_name: str, key: SigningKey, now_ms: int) -> dict[str, Any]:
    """The body of a probe."""
    return operator_request(PURPOSE, {"text": TEXT}, server_name, key, now_ms)


def upload_head(server_name: str, key: SigningKey, now_ms: int) -> bytes:
    """The beginning of an upload."""
    return encode_canonical(signed_probe(server_name, key, now_ms)).ljust(HEAD_BYTES)


class Echoes:
    """The server's side of the probes."""

    def __init__(self, requests: OperatorRequests) -> None:
        """`requests` says who may ask."""
        self._requests = requests

    def check(self, body: Any) -> None:
        """Raise M_FORBIDDEN unless the doctor of this server asks, with a body that nobody has changed."""
        if not self._requests.accepts(body, PURPOSE, max_age_ms=MAX_AGE_MS) or body.get("text") != TEXT:
            raise forbidden(
                "This is not a probe of this server's own doctor, or its body was changed on the way"
            )

    def check_upload(self, head: bytes) -> None:
        """Raise M_FORBIDDEN unless an upload that begins so is a probe, as in `check`."""
        try:
            probe = decode_json(head)
        except CanonicalJSONError:
            probe = None
        self.check(probe)


def what_arrived(
    method: str,
    target: str,
    host: str,
    address: str,
    forwarded_for: Sequence[str],
    authorization: Sequence[str],
) -> dict[str, Any]:
    """The answer to a probe."""
    return {
        "method": method,
        "target": target,
        "host": host,
        "address": address,
        "forwarded_for": list(forwarded_for),
        "authorization": list(authorization),
    }
