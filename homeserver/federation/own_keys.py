"""Our own keys as other servers see them, and what we sign as a notary. Pure.

The file that the signing keys are in is read and written by `config`; here they are given.

Spec: https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.signing import VerifyKey
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64, encode_base64

from homeserver.core.signing import key_id_of, sign_json

DEFAULT_VALIDITY_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class OldVerifyKey:
    """A key that signs no more. It verifies events made before `expired_ts` (milliseconds since the epoch)."""

    verify_key: VerifyKey
    expired_ts: int


def old_verify_key(key: str, expired_ts: int) -> OldVerifyKey:
    """From the unpadded base64 that `old_signing_keys` has. Raises ValueError if it is no ed25519 key."""
    return OldVerifyKey(VerifyKey(decode_base64(key)), expired_ts)


@dataclass(frozen=True)
class OwnKeys:
    """The keys of this server. All of `signing_keys` are published; the first one signs.

    `old_verify_keys` are by key ID.
    """

    server_name: str
    signing_keys: tuple[SigningKey, ...]
    old_verify_keys: Mapping[str, OldVerifyKey]

    def __init__(
        self,
        server_name: str,
        signing_keys: Sequence[SigningKey],
        old_verify_keys: Mapping[str, OldVerifyKey] | None = None,
    ) -> None:
        if not signing_keys:
            raise ValueError("a server needs a signing key")
        object.__setattr__(self, "server_name", server_name)
        object.__setattr__(self, "signing_keys", tuple(signing_keys))
        object.__setattr__(self, "old_verify_keys", dict(old_verify_keys or {}))

    @property
    def signing_key(self) -> SigningKey:
        """The key that signs."""
        return self.signing_keys[0]

    @property
    def verify_keys(self) -> dict[str, VerifyKey]:
        """The keys that may sign, by key ID."""
        return {key_id_of(key): key.verify_key for key in self.signing_keys}


def server_keys(own: OwnKeys, now_ms: int, validity_ms: int = DEFAULT_VALIDITY_MS) -> dict[str, Any]:
    """The answer to `GET /_matrix/key/v2/server`, signed with every key that it publishes as current.

    "Originating servers should avoid returning responses that expire in less than an hour": make it for each
    request, or anew in time.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    response: dict[str, Any] = {
        "server_name": own.server_name,
        "valid_until_ts": now_ms + validity_ms,
        "verify_keys": {
            key_id: {"key": encode_base64(key.encode())} for key_id, key in own.verify_keys.items()
        },
        "old_verify_keys": {
            key_id: {"key": encode_base64(old.verify_key.encode()), "expired_ts": old.expired_ts}
            for key_id, old in own.old_verify_keys.items()
        },
    }
    for key in own.signing_keys:
        response = sign_json(response, own.server_name, key)
    return response


def sign_as_notary(response: Mapping[str, Any], own: OwnKeys) -> dict[str, Any]:
    """Another server's key response (as it signed it) with our signature added.

    Our own response comes back signed as it is.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
    """
    return sign_json(response, own.server_name, own.signing_key)
