"""What the operator's command line asks of the running server: signed with the server's own key, which both can read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from signedjson.types import SigningKey

from homeserver.core.errors import forbidden
from homeserver.core.signing import json_signature_keys, sign_json, verify_json
from homeserver.federation.own_keys import OwnKeys

MAX_AGE_MS = 60_000


def operator_request(
    purpose: str, fields: Mapping[str, Any], server_name: str, key: SigningKey, now_ms: int
) -> dict[str, Any]:
    """The body of a request. purpose: such as `federation retry`; a body for one is of no use for another."""
    return sign_json({**fields, "purpose": purpose, "sent_ts": now_ms}, server_name, key)


class OperatorRequests:
    """The server's side."""

    def __init__(self, own: OwnKeys, clock: Callable[[], int]) -> None:
        """`clock`: milliseconds since the epoch."""
        self._own = own
        self._clock = clock

    def check(self, body: Any, purpose: str) -> None:
        """Raise M_FORBIDDEN unless who holds this server's signing key has asked for just this, within the last minute."""
        own, now = self._own, self._clock()
        is_signed = isinstance(body, dict) and any(
            key_id in own.verify_keys and verify_json(body, own.server_name, key_id, own.verify_keys[key_id])
            for key_id in json_signature_keys(body, own.server_name)
        )
        sent = body.get("sent_ts") if isinstance(body, dict) else None
        is_new = isinstance(sent, int) and abs(now - sent) <= MAX_AGE_MS
        if not (is_signed and is_new and body.get("purpose") == purpose):
            raise forbidden("This is for the operator of this server, who signs with its key")
