"""The events in tests/fixtures/synapse_events, which tests/interop/record_fixtures.py had a real Synapse make."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from signedjson.key import decode_verify_key_bytes
from unpaddedbase64 import decode_base64

DIRECTORY = Path(__file__).resolve().parents[1] / "fixtures" / "synapse_events"
VERSIONS = tuple(str(number) for number in range(1, 13))


@dataclass(frozen=True)
class RecordedEvent:
    """One event as Synapse sends it to other servers, and what Synapse thinks of it."""

    event_id: str
    pdu: dict[str, Any]
    rejected: str | None
    """Why Synapse rejected it."""
    soft_failed: bool
    state_after: dict[tuple[str, str], str] | None
    """Where branches meet: the resolved state with this event, event IDs by (type, state key)."""


@dataclass(frozen=True)
class RecordedRoom:
    """A room at the end of a scenario; every event stands after those it points to."""

    scenario: str
    room_id: str
    events: tuple[RecordedEvent, ...]
    forward_extremities: tuple[str, ...]
    current_state: dict[tuple[str, str], str]


@dataclass(frozen=True)
class Recording:
    """Everything that was recorded in one room version."""

    version: str
    verify_keys: dict[str, dict[str, Any]]
    """Server name -> key ID -> verify key."""
    rooms: tuple[RecordedRoom, ...]


def _state(entries: list[list[str]]) -> dict[tuple[str, str], str]:
    return {(event_type, state_key): event_id for event_type, state_key, event_id in entries}


def _event(line: dict[str, Any]) -> RecordedEvent:
    return RecordedEvent(
        line["event_id"],
        line["pdu"],
        line.get("rejected"),
        line.get("soft_failed", False),
        _state(line["state_after"]) if "state_after" in line else None,
    )


@cache
def recording(version: str) -> Recording:
    """What was recorded in a room version."""
    lines = iter((DIRECTORY / f"v{version}.jsonl").read_text(encoding="utf-8").split("\n")[:-1])
    head = json.loads(next(lines))
    keys = {
        server: {key_id: decode_verify_key_bytes(key_id, decode_base64(key)) for key_id, key in by_id.items()}
        for server, by_id in head["verify_keys"].items()
    }
    rooms = []
    for line in lines:
        about = json.loads(line)
        events = tuple(_event(json.loads(next(lines))) for _ in range(about["number_of_events"]))
        rooms.append(
            RecordedRoom(
                about["scenario"],
                about["room_id"],
                events,
                tuple(about["forward_extremities"]),
                _state(about["current_state"]),
            )
        )
    return Recording(version, keys, tuple(rooms))
