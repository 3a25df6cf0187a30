"""Requests that the doctor sends to its own server through the public address, and what the server answers: what arrived. Pure.

Whoever holds the server's signing key may ask for it: the body is signed JSON, so a changed path does not matter for that, and a
changed body is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nacl.signing import VerifyKey
from signedjson.types import SigningKey

from homeserver.core.errors import forbidden
from homeserver.core.signing import json_signature_keys, sign_json, verify_json
from homeserver.federation.own_keys import OwnKeys

ECHO = "/_matrix/federation/unstable/homeserver.doctor/echo"
WAIT = "/_matrix/client/unstable/homeserver.doctor/wait"
MAX_AGE_MS = 300_000
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
    return sign_json({"text": TEXT, "sent_ts": now_ms}, server_name, key)


def is_own_probe(body: Any, server_name: str, keys: Mapping[str, VerifyKey], now_ms: int) -> bool:
    """Whether a probe comes from whoever has this server's keys, just now, with its text as it was sent."""
    if not isinstance(body, dict) or body.get("text") != TEXT:
        return False
    sent = body.get("sent_ts")
    if not isinstance(sent, int) or abs(now_ms - sent) > MAX_AGE_MS:
        return False
    return any(
        key_id in keys and verify_json(body, server_name, key_id, keys[key_id])
        for key_id in json_signature_keys(body, server_name)
    )


class Echoes:
    """The server's side of the probes."""

    def __init__(self, own: OwnKeys, clock: Callable[[], int]) -> None:
        """`clock`: milliseconds since the epoch."""
        self._own = own
        self._clock = clock

    def check(self, body: Any) -> None:
        """Raise M_FORBIDDEN unless the doctor of this server asks, with a body that nobody has changed."""
        if not is_own_probe(body, self._own.server_name, self._own.verify_keys, self._clock()):
            raise forbidden(
                "This is not a probe of this server's own doctor, or its body was changed on the way"
            )


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
