"""Validating what servers and notaries publish as keys. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core.canonical_json import MAX_INTEGER, encode_canonical
from homeserver.core.signing import json_signature_keys, verify_json

# "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid."
MAX_VALIDITY_MS = 7 * 24 * 3600 * 1000
_MAX_KEYS = 200
_MAX_KEY_ID_LENGTH = 255


class InvalidKeys(ValueError):
    """A key response cannot be believed. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class StoredKey:
    """One verification key of a server.

    `valid_until` (milliseconds since the epoch): until when the key is known to be good, capped to seven days
    after it was fetched; of a key that `is_old`, when it expired.
    """

    key_id: str
    verify_key: bytes
    valid_until: int
    is_old: bool


@dataclass(frozen=True)
class StoredKeys:
    """All that is known of a server's keys.

    `response` is its newest key response, as canonical JSON with its signatures, for answering as a notary.
    `valid_until` is the smaller of its `valid_until_ts` and seven days after `fetched_ms`.
    """

    server_name: str
    keys: tuple[StoredKey, ...]
    response: bytes
    fetched_ms: int
    valid_until: int


@dataclass(frozen=True)
class TrustedKeyServer:
    """A notary. `verify_keys` by key ID are its keys as configured.

    Without them its word rests on its TLS certificate alone.
    """

    server_name: str
    verify_keys: Mapping[str, VerifyKey]


def parse_server_keys(response: Any, now_ms: int, server_name: str | None = None) -> StoredKeys:
    """Validate a key response: of `server_name`, in the right form, signed by a key that it lists as current.

    Keys of algorithms we do not know are left out. Raises InvalidKeys.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    if not isinstance(response, dict):
        raise InvalidKeys("the response is not a JSON object")
    name = response.get("server_name")
    if not isinstance(name, str) or (server_name is not None and name != server_name):
        raise InvalidKeys(f"the response has the keys of {name!r:.300}, not of {server_name!r}")
    valid_until_ts = _timestamp(response.get("valid_until_ts"), "valid_until_ts")
    valid_until = min(valid_until_ts, now_ms + MAX_VALIDITY_MS)
    current = _keys(response.get("verify_keys"), "verify_keys")
    old = _keys(response.get("old_verify_keys", {}), "old_verify_keys")
    _check_signatures(response, name, {key_id: VerifyKey(key) for key_id, (key, _) in current.items()})
    keys = [StoredKey(key_id, key, valid_until, is_old=False) for key_id, (key, _) in current.items()]
    for key_id, (key, entry) in old.items():
        # The same key both current and old contradicts itself; current, so that nobody can be locked out by a
        # mistake.
        if key_id not in current:
            expired = _timestamp(entry.get("expired_ts"), f"expired_ts of {key_id}")
            keys.append(StoredKey(key_id, key, expired, is_old=True))
    return StoredKeys(name, tuple(keys), encode_canonical(response), now_ms, valid_until)


def parse_notary_response(
    response: Any, notary: TrustedKeyServer, wanted: Collection[str], now_ms: int
) -> tuple[list[StoredKeys], list[str]]:
    """The valid key responses for the `wanted` servers in a notary's answer, and why others were left out.

    Each must have the notary's signature by one of its configured keys, beside that of the server itself.
    There may be several of one server. Raises InvalidKeys if the answer as a whole is of no use.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
    """
    entries = response.get("server_keys") if isinstance(response, dict) else None
    if not isinstance(entries, list):
        raise InvalidKeys("the answer has no list of server_keys")
    found: list[StoredKeys] = []
    problems: list[str] = []
    for entry in entries:
        try:
            keys = parse_server_keys(entry, now_ms)
            if keys.server_name not in wanted:
                continue
            _check_notary(entry, notary)
        except InvalidKeys as error:
            problems.append(error.reason)
        else:
            found.append(keys)
    return found, problems


def merge(known: StoredKeys | None, fetched: StoredKeys) -> StoredKeys:
    """What is known after `fetched` has arrived.

    Keys that a server no longer mentions stay known with the validity they had: events of that time can still
    be verified. A key only gains validity, unless the newer response says that it is old.
    """
    if known is None:
        return fetched
    newer, older = (fetched, known) if fetched.valid_until >= known.valid_until else (known, fetched)
    keys = {key.key_id: key for key in older.keys}
    for key in newer.keys:
        before = keys.get(key.key_id)
        if (
            before is not None
            and before.verify_key == key.verify_key
            and not key.is_old
            and not before.is_old
        ):
            key = replace(key, valid_until=max(key.valid_until, before.valid_until))
        keys[key.key_id] = key
    return replace(newer, keys=tuple(keys.values()), fetched_ms=max(known.fetched_ms, fetched.fetched_ms))


def _timestamp(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidKeys(f"{name} is not a timestamp: {value!r:.40}")
    return min(value, MAX_INTEGER)


def _keys(value: Any, name: str) -> dict[str, tuple[bytes, dict[str, Any]]]:
    if not isinstance(value, dict):
        raise InvalidKeys(f"{name} is not an object")
    if len(value) > _MAX_KEYS:
        raise InvalidKeys(f"{name} has {len(value)} keys; at most {_MAX_KEYS} are accepted")
    keys: dict[str, tuple[bytes, dict[str, Any]]] = {}
    for key_id, entry in value.items():
        if not key_id.startswith("ed25519:"):
            continue
        encoded = entry.get("key") if isinstance(entry, dict) else None
        if len(key_id) > _MAX_KEY_ID_LENGTH or not isinstance(encoded, str):
            raise InvalidKeys(f"{name} has a malformed entry {key_id!r:.100}")
        try:
            keys[key_id] = (VerifyKey(decode_base64(encoded)).encode(), entry)
        except (CryptoError, ValueError) as error:
            raise InvalidKeys(f"{key_id!r:.100} in {name} is not an ed25519 key") from error
    return keys


def _check_signatures(response: dict[str, Any], name: str, keys: Mapping[str, VerifyKey]) -> None:
    """At least one of the listed current keys must have signed, and none of them wrongly."""
    signed = [key_id for key_id in json_signature_keys(response, name) if key_id in keys]
    if not signed:
        raise InvalidKeys(f"the response for {name} is not signed by a key that it lists")
    for key_id in signed:
        if not verify_json(response, name, key_id, keys[key_id]):
            raise InvalidKeys(f"the signature of {name} with {key_id:.100} is wrong")


def _check_notary(response: dict[str, Any], notary: TrustedKeyServer) -> None:
    if not notary.verify_keys:
        return
    for key_id, key in notary.verify_keys.items():
        if verify_json(response, notary.server_name, key_id, key):
            return
    raise InvalidKeys(
        f"the response for {response.get('server_name')} has no valid signature of {notary.server_name} "
        f"by the configured {', '.join(notary.verify_keys)}"
    )
