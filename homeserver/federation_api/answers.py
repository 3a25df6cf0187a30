"""What several federation endpoints share: checked identifiers, and events spliced into answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from homeserver.core.errors import invalid_param
from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_event_id, is_valid_room_id
from homeserver.services.clock import now_ms


def room_id_of(value: str) -> str:
    """A room ID from a path. Raises M_INVALID_PARAM."""
    if not is_valid_room_id(value):
        raise invalid_param(f"{value[:300]!r} is not a room ID")
    return value


def event_id_of(value: str) -> str:
    """An event ID from a path or query. Raises M_INVALID_PARAM."""
    if not is_valid_event_id(value):
        raise invalid_param(f"{value[:300]!r} is not an event ID")
    return value


def pdus(events: Iterable[Event]) -> list[msgspec.Raw]:
    """Events in the federation format, as the bytes that are stored."""
    return [msgspec.Raw(event.canonical) for event in events]


def transaction(origin: str, events: Iterable[Event]) -> dict[str, Any]:
    """Events in the form of a transaction, in which some endpoints answer."""
    return {"origin": origin, "origin_server_ts": now_ms(), "pdus": pdus(events)}
