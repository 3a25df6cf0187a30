"""Invitations by third-party identifier: the part of the invite rule that redeems an
m.room.third_party_invite.

The numbers in the comments are those of room version 11 (rule 4.4.1).

Spec: https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.core.auth_rules.context import Context
from homeserver.core.auth_rules.refusal import Refusal
from homeserver.core.signing import json_signature_keys, verify_json

MAX_SIGNATURE_CHECKS: Final = 64
"""How many pairs of a signature and a key are tried. An identity server makes one signature and gives one or two
keys; an event can be stuffed with so many of both that trying all would take a minute."""


def authorise_third_party_invitation(context: Context, target: str, number: str) -> Refusal | None:
    """The rule on an invite with `content.third_party_invite`; `number` is its number in the version's text."""
    event = context.event
    # 4.4.1.1: "If target user is banned, reject."
    if context.membership_of(target) == "ban":
        return context.refuse(f"{number}.1", f"{target} is banned from the room")
    # 4.4.1.2: "If content.third_party_invite does not have a signed property, reject."
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    if not isinstance(signed, Mapping):
        return context.refuse(f"{number}.2", "third_party_invite has no object `signed`")
    # 4.4.1.3: "If signed does not have mxid and token properties, reject."
    token = signed.get("token")
    if "mxid" not in signed or not isinstance(token, str):
        return context.refuse(f"{number}.3", "third_party_invite.signed lacks mxid or token")
    # 4.4.1.4: "If mxid does not match state_key, reject."
    if signed["mxid"] != target:
        return context.refuse(
            f"{number}.4", f"the third-party invite is for {signed['mxid']!r}, not for {target}"
        )
    # 4.4.1.5: "If there is no m.room.third_party_invite event in the current room state with state_key
    # matching token, reject."
    offer = context.state.get(("m.room.third_party_invite", token))
    if offer is None:
        return context.refuse(f"{number}.5", "the room has no third-party invite with this token")
    # 4.4.1.6: "If sender does not match sender of the m.room.third_party_invite, reject."
    if event.sender != offer.sender:
        return context.refuse(
            f"{number}.6", f"the third-party invite is by {offer.sender}, not {event.sender}"
        )
    # 4.4.1.7: "If any signature in signed matches any public key in the m.room.third_party_invite event,
    # allow."
    if _is_signed_by_any(signed, list(_public_keys(offer.content))):
        return None
    # 4.4.1.8: "Otherwise, reject."
    return context.refuse(
        f"{number}.8", "third_party_invite.signed has no signature by a key of the invitation"
    )


def _is_signed_by_any(signed: Mapping[str, Any], keys: list[VerifyKey]) -> bool:
    signatures = signed.get("signatures")
    if not isinstance(signatures, Mapping):
        return False
    attempts = (
        (server, key_id, key)
        for server in sorted(signatures)
        for key_id in sorted(json_signature_keys(signed, server))
        for key in keys
    )
    return any(verify_json(signed, *attempt) for attempt in islice(attempts, MAX_SIGNATURE_CHECKS))


def _public_keys(content: Mapping[str, Any]) -> Iterator[VerifyKey]:
    """The distinct keys of an m.room.third_party_invite, without entries that are not keys and cannot match."""
    # "A single public key in the public_key property. A list of public keys in the public_keys property."
    several = content.get("public_keys")
    encoded = [content.get("public_key")]
    if isinstance(several, list):
        encoded += [entry.get("public_key") for entry in several if isinstance(entry, Mapping)]
    for key in dict.fromkeys(key for key in encoded if isinstance(key, str)):
        try:
            # "encoded using Unpadded Base64, using the standard or URL-safe alphabets"
            yield VerifyKey(decode_base64(key))
        except (ValueError, CryptoError):  # not base64, or not 32 bytes
            continue
