"""The event ID of a PDU whose room version is not known for certain. Pure."""

from __future__ import annotations

from typing import Any

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.errors import InvalidEvent
from homeserver.core.events import compute_event_id
from homeserver.core.identifiers import is_hash_room_id, is_valid_event_id
from homeserver.core.room_versions import ROOM_VERSIONS, RoomRules


def probable_event_id(pdu: Any, rules: RoomRules | None) -> str | None:
    """The ID by which the sender knows a PDU that we refuse, to tell it so; None when it cannot be told.

    Without `rules`, for a room that we know nothing of, the version is guessed: room versions 1 and 2 write the ID into the PDU, a
    room ID without a server is of version 12, and from 4 to 11 the IDs of most events come out alike.
    """
    if not isinstance(pdu, dict):
        return None
    if rules is None:
        given = pdu.get("event_id")
        if is_valid_event_id(given):
            return str(given)
        rules = ROOM_VERSIONS["12" if is_hash_room_id(pdu.get("room_id")) else "10"]
    try:
        event_id = compute_event_id(pdu, rules)
    except (InvalidEvent, CanonicalJSONError, KeyError, TypeError, ValueError, AttributeError):
        return None  # not an event at all
    return event_id if is_valid_event_id(event_id) else None
