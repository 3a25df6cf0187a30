"""Signing and verifying JSON objects and events, given keys.

An event is signed over its redacted form without `signatures` and `unsigned`, so a signature survives
redaction. The same bytes give the reference hash.

Spec: https://spec.matrix.org/v1.19/appendices/#signing-json
Spec: https://spec.matrix.org/v1.19/server-server-api/#signing-events
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64, encode_base64

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import InvalidEvent
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.core.redaction import redact_pdu
from homeserver.core.room_versions import EventIDFormat, RoomRules

if TYPE_CHECKING:
    from homeserver.core.events import Event

_ALGORITHM: Final = "ed25519:"
POLICY_SERVER_KEY_ID: Final = "ed25519:policy_server"
"""Spec: https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures"""


def key_id_of(signing_key: SigningKey) -> str:
    """The key ID, for example `ed25519:abc`."""
    return f"{signing_key.alg}:{signing_key.version}"


def signed_bytes(value: Mapping[str, Any]) -> bytes:
    """What a signature of this JSON object covers: its canonical JSON without `signatures` and `unsigned`."""
    return encode_canonical(
        {key: item for key, item in value.items() if key not in ("signatures", "unsigned")}
    )


def event_signed_bytes(pdu: Mapping[str, Any], rules: RoomRules) -> bytes:
    """What a signature of this event covers, and what its reference hash is the SHA-256 of."""
    return signed_bytes(redact_pdu(pdu, rules))


def with_signature(
    signatures: Any, server_name: str, key_id: str, signature: str
) -> dict[str, dict[str, str]]:
    """A copy of `signatures` with one more. What is not an object in it, or itself, is left out."""
    kept = signatures.items() if isinstance(signatures, Mapping) else ()
    copied = {name: dict(keys) for name, keys in kept if isinstance(keys, Mapping)}
    copied.setdefault(server_name, {})[key_id] = signature
    return copied


def signature_of(message: bytes, signing_key: SigningKey) -> str:
    """The signature of the bytes, in unpadded base64."""
    return encode_base64(signing_key.sign(message).signature)


def sign_json(obj: Mapping[str, Any], server_name: str, signing_key: SigningKey) -> dict[str, Any]:
    """A copy of the JSON object with our signature added; `obj` is not changed."""
    signature = signature_of(signed_bytes(obj), signing_key)
    signatures = with_signature(obj.get("signatures"), server_name, key_id_of(signing_key), signature)
    return {**obj, "signatures": signatures}


def verify_json(obj: Mapping[str, Any], server_name: str, key_id: str, verify_key: VerifyKey) -> bool:
    """Whether the object bears a valid signature of `server_name` by this key.

    Spec: https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
    """
    signature = _signatures_by(obj.get("signatures"), server_name).get(key_id)
    if signature is None:
        return False
    try:
        message = signed_bytes(obj)
    except CanonicalJSONError:
        return False
    return _verify(message, signature, verify_key)


def json_signature_keys(obj: Mapping[str, Any], server_name: str) -> list[str]:
    """The IDs of the keys with which `server_name` signed the object, of the algorithms we understand."""
    return list(_signatures_by(obj.get("signatures"), server_name))


def _signatures_by(signatures: Any, server_name: str) -> dict[str, str]:
    """The well-formed signatures of the server, by key ID, of the algorithms we understand."""
    by_server = signatures.get(server_name) if isinstance(signatures, Mapping) else None
    if not isinstance(by_server, Mapping):
        return {}
    return {
        key_id: signature
        for key_id, signature in by_server.items()
        if isinstance(signature, str) and key_id.startswith(_ALGORITHM)
    }


def _verify(message: bytes, signature: str, verify_key: VerifyKey) -> bool:
    try:
        verify_key.verify(message, decode_base64(signature))
    except (CryptoError, ValueError):  # not the signature of the message; not base64, or not 64 bytes
        return False
    return True


def is_third_party_invite(event: Event) -> bool:
    """Whether the event is an invite made from a third-party invite."""
    return (
        event.type == "m.room.member"
        and event.content.get("membership") == "invite"
        and "third_party_invite" in event.content
    )


def authorising_server(event: Event) -> str | None:
    """The server whose user let a restricted join through, if the event names one (v8+).

    Raises `InvalidEvent` when `join_authorised_via_users_server` is not a user ID: then no server can have
    signed it.
    """
    if (
        not event.rules.restricted_join
        or event.type != "m.room.member"
        or "join_authorised_via_users_server" not in event.content
    ):
        return None
    user_id = event.content["join_authorised_via_users_server"]
    if not is_valid_user_id(user_id):
        raise InvalidEvent("content.join_authorised_via_users_server is not a user ID")
    return domain_of(user_id)


def required_signatures(event: Event) -> frozenset[str]:
    """The servers whose signature the event must bear; raises `InvalidEvent` if it names one that cannot
    exist.

    - The sender's server, unless the event is a third-party invite, which a server other than the sender's
    may send
      and which its `signed` block vouches for (the authorisation rules check that).
    - Room versions 1 and 2: the server in the event ID.
    - Room version 8 and later: the server of `join_authorised_via_users_server`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    servers = set()
    if not is_third_party_invite(event):
        servers.add(event.sender_domain)
    if event.rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
        servers.add(domain_of(event.event_id))
    authorising = authorising_server(event)
    if authorising is not None:
        servers.add(authorising)
    return frozenset(servers)


def event_signature_keys(event: Event, server: str) -> list[str]:
    """The IDs of the ed25519 keys with which the server claims to have signed the event.

    The policy server's key is not among them: it is not published, and its signature is judged apart.
    """
    return [key_id for key_id in _signatures_by(event.signatures, server) if key_id != POLICY_SERVER_KEY_ID]


def verify_event_signature(event: Event, server: str, keys: Mapping[str, VerifyKey]) -> bool:
    """Whether the server's signatures on the event hold, by the keys given.

    `keys` are the server's keys by key ID that are known and were valid when the event was made; signatures
    by others are skipped. True if at least one signature could be checked and all that could be are valid.
    """
    signatures = _signatures_by(event.signatures, server)
    known = [(signatures[key_id], key) for key_id, key in keys.items() if key_id in signatures]
    if not known:
        return False
    message = event_signed_bytes(event.pdu, event.rules)
    return all(_verify(message, signature, key) for signature, key in known)


def sign_event_as(event: Event, server_name: str, signing_key: SigningKey) -> Event:
    """The event with the signature of `server_name` added (an invite, a restricted join). Its ID stays."""
    signature = signature_of(event_signed_bytes(event.pdu, event.rules), signing_key)
    signatures = with_signature(event.signatures, server_name, key_id_of(signing_key), signature)
    return event.with_signatures(signatures)
