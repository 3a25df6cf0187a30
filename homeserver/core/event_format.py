"""The format of a PDU in each room version, checked field by field; each refusal says which field and why.

These are the first of the checks on receipt: an event that fails them is dropped.

Lengths are bytes of UTF-8 ("`state_key` MUST NOT exceed 255 bytes"). Before that was settled servers counted
codepoints, and rooms of versions 1 to 10 hold events that are within 255 codepoints and over 255 bytes. They are in
force on the servers that have them, so those of others are taken by the older reading in these versions, or we would not
agree with them on the room's state. What we make ourselves is measured in bytes in every version.

Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
Spec: https://spec.matrix.org/v1.19/client-server-api/#size-limits
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeserver.core.errors import EventTooLarge, InvalidEvent
from homeserver.core.identifiers import (
    is_domain_event_id,
    is_domain_room_id,
    is_hash_room_id,
    is_valid_event_id,
    is_valid_user_id,
)
from homeserver.core.room_versions import MAX_INT64, EventIDFormat, RoomRules

MAX_EVENT_BYTES: Final = 65536
MAX_FIELD_LENGTH: Final = 255
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10


def is_create(pdu: Mapping[str, Any]) -> bool:
    """Whether the PDU is the m.room.create event that makes a room: one with an empty state key."""
    return pdu.get("type") == "m.room.create" and pdu.get("state_key") == ""


def check_pdu(pdu: Mapping[str, Any], rules: RoomRules, *, ours: bool = False, history: bool = False) -> None:
    """Raise `InvalidEvent` unless every field of the PDU has the type, form and range the room version wants.

    `ours`: an event that we make, for which the stricter reading of lengths holds in every version.
    `history`: an answer to /backfill, which "MUST NOT be validated on" how many `prev_events` and `auth_events` there are.
    Not checked here: canonical JSON, the size of the whole event, hashes and signatures.
    """
    _check_strings(pdu, in_bytes=ours or rules.field_limits_in_bytes)
    _check_room_id(pdu, rules)
    if not isinstance(_required(pdu, "content"), Mapping):
        raise InvalidEvent(f"content is {_kind(pdu['content'])}, not an object")
    _check_integers(pdu, rules)
    _check_hashes_and_signatures(pdu)
    with_hashes = rules.event_id_format is EventIDFormat.SERVER_CHOSEN
    _check_references(pdu, "prev_events", None if history else MAX_PREV_EVENTS, with_hashes)
    _check_references(pdu, "auth_events", None if history else MAX_AUTH_EVENTS, with_hashes)
    if with_hashes:
        _check_event_id(_required(pdu, "event_id"))
    if not rules.redacts_in_content and not isinstance(pdu.get("redacts", ""), str):
        raise InvalidEvent(f"redacts is {_kind(pdu['redacts'])}, not a string")
    if not isinstance(pdu.get("unsigned", {}), Mapping):
        raise InvalidEvent(f"unsigned is {_kind(pdu['unsigned'])}, not an object")


def check_event_size(size: int) -> None:
    """Raise `EventTooLarge` when the event, in bytes of canonical JSON with its signatures, is over the
    limit."""
    if size > MAX_EVENT_BYTES:
        raise EventTooLarge(f"the event has {size} bytes; at most {MAX_EVENT_BYTES} are allowed")


def _check_strings(pdu: Mapping[str, Any], *, in_bytes: bool) -> None:
    for field in ("type", "state_key"):
        if field == "state_key" and field not in pdu:
            continue
        value = _required(pdu, field)
        if not isinstance(value, str):
            raise InvalidEvent(f"{field} is {_kind(value)}, not a string")
        _check_field_size(field, value, in_bytes=in_bytes)
        # The specification keeps NUL out of identifiers only. But state is looked up by type and state key,
        # and PostgreSQL's text cannot hold NUL: an event with it could never be stored.
        if "\0" in value:
            raise InvalidEvent(f"{field} contains NUL")
    sender = _required(pdu, "sender")
    if not isinstance(sender, str):
        raise InvalidEvent(f"sender is {_kind(sender)}, not a string")
    _check_field_size("sender", sender)
    if not is_valid_user_id(sender):
        raise InvalidEvent(f"sender {_shown(sender)} is not a user ID")


def _check_room_id(pdu: Mapping[str, Any], rules: RoomRules) -> None:
    if rules.room_id_is_create_hash and is_create(pdu):
        # "room_id: Room identifier. Omitted from `m.room.create` events."
        # Spec: https://spec.matrix.org/v1.19/rooms/v12/#event-format
        if "room_id" in pdu:
            raise InvalidEvent("an m.room.create event of this room version must not have a room_id")
        return
    room_id = _required(pdu, "room_id")
    if not isinstance(room_id, str):
        raise InvalidEvent(f"room_id is {_kind(room_id)}, not a string")
    _check_field_size("room_id", room_id)
    if rules.room_id_is_create_hash:
        if not is_hash_room_id(room_id):
            raise InvalidEvent(f"room_id {_shown(room_id)} is not ! and the hash of a create event")
    elif not is_domain_room_id(room_id):
        raise InvalidEvent(f"room_id {_shown(room_id)} is not of the form !opaque_id:domain")


def _check_event_id(event_id: Any) -> None:
    """The `event_id` of room versions 1 and 2."""
    if not isinstance(event_id, str):
        raise InvalidEvent(f"event_id is {_kind(event_id)}, not a string")
    _check_field_size("event_id", event_id)
    if not is_domain_event_id(event_id):
        raise InvalidEvent(f"event_id {_shown(event_id)} is not of the form $opaque_id:domain")


def _check_integers(pdu: Mapping[str, Any], rules: RoomRules) -> None:
    depth = _integer(pdu, "depth")
    if not 0 <= depth <= rules.max_depth:
        raise InvalidEvent(f"depth {depth} is not between 0 and {rules.max_depth}")
    # int64 by the schema; room versions with strict canonical JSON narrow it further.
    if not -MAX_INT64 - 1 <= _integer(pdu, "origin_server_ts") <= MAX_INT64:
        raise InvalidEvent("origin_server_ts does not fit in 64 bits")


def _check_hashes_and_signatures(pdu: Mapping[str, Any]) -> None:
    hashes = _required(pdu, "hashes")
    if not isinstance(hashes, Mapping):
        raise InvalidEvent(f"hashes is {_kind(hashes)}, not an object")
    if not isinstance(hashes.get("sha256"), str):
        raise InvalidEvent("hashes has no string sha256")
    signatures = _required(pdu, "signatures")
    if not isinstance(signatures, Mapping):
        raise InvalidEvent(f"signatures is {_kind(signatures)}, not an object")
    for server_name, by_server in signatures.items():
        if not isinstance(by_server, Mapping):
            raise InvalidEvent(f"signatures of {_shown(server_name)} is {_kind(by_server)}, not an object")
        if not all(isinstance(signature, str) for signature in by_server.values()):
            raise InvalidEvent(f"a signature of {_shown(server_name)} is not a string")


def _check_references(pdu: Mapping[str, Any], field: str, limit: int | None, with_hashes: bool) -> None:
    """`prev_events` or `auth_events`: event IDs, in room versions 1 and 2 pairs of event ID and hashes."""
    references = _required(pdu, field)
    if not isinstance(references, list | tuple):
        raise InvalidEvent(f"{field} is {_kind(references)}, not an array")
    if limit is not None and len(references) > limit:
        raise InvalidEvent(f"{field} has {len(references)} entries; at most {limit} are allowed")
    for reference in references:
        event_id = reference
        if with_hashes:
            if not isinstance(reference, list | tuple) or len(reference) != 2:
                raise InvalidEvent(f"an entry of {field} is not a pair of an event ID and its hashes")
            event_id, hashes = reference
            if not isinstance(hashes, Mapping):
                raise InvalidEvent(f"the hashes in an entry of {field} are {_kind(hashes)}, not an object")
        if not is_valid_event_id(event_id):
            raise InvalidEvent(f"{_shown(event_id)} in {field} is not an event ID")


def _required(pdu: Mapping[str, Any], field: str) -> Any:
    if field not in pdu:
        raise InvalidEvent(f"{field} is missing")
    return pdu[field]


def _integer(pdu: Mapping[str, Any], field: str) -> int:
    value = _required(pdu, field)
    if type(value) is not int:
        raise InvalidEvent(f"{field} is {_kind(value)}, not an integer")
    return value


def _check_field_size(field: str, value: str, *, in_bytes: bool = True) -> None:
    try:
        encoded = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"{field} contains a lone surrogate") from None
    size, unit = (encoded, "bytes") if in_bytes else (len(value), "codepoints")
    if size > MAX_FIELD_LENGTH:
        raise EventTooLarge(f"{field} has {size} {unit}; at most {MAX_FIELD_LENGTH} are allowed")


def _kind(value: Any) -> str:
    """The JSON type of a value, for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a float"
    if isinstance(value, Mapping):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    """A value from elsewhere, short and escaped enough to stand in a log line."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
