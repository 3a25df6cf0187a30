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

    def accepts(self, body: Any, purpose: str, *, max_age_ms: int = MAX_AGE_MS) -> bool:
        """Whether who holds this server's signing key has asked for just this, so lately, and nobody has changed it."""
        if not isinstance(body, dict) or body.get("purpose") != purpose:
            return False
        sent = body.get("sent_ts")
        if not isinstance(sent, int) or abs(self._clock() - sent) > max_age_ms:
            return False
        name, keys = self._own.server_name, self._own.verify_keys
        return any(
            key_id in keys and verify_json(body, name, key_id, keys[key_id])
            for key_id in json_signature_keys(body, name)
        )

    def check(self, body: Any, purpose: str) -> None:
        """Raise M_FORBIDDEN unless the operator has asked for just this within the last minute."""
        if not self.accepts(body, purpose):
            raise forbidden("This is for the operator of this server, who signs with its key")
