"""What another server tells of a room that we are not in, checked and pruned to stripped state.

Since version 1.16 these are whole events of the room's state; older servers send them stripped. In room versions up to 11
both are taken, as far as they are not forged; in later ones only whole events.

Spec: https://spec.matrix.org/v1.19/client-server-api/#stripped-state
Spec: https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4311-stripped-state-create-event.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import InvalidEvent
from homeserver.core.event_format import MAX_EVENT_BYTES
from homeserver.core.events import Event, StateKey, parse_pdu
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.room_versions import RoomRules
from homeserver.services.received_events import ReceivedEvents

MAX_TOLD = 100
MAX_TOLD_BYTES = 256 * 1024
"""Of stripped state in all: names and topics, not albums."""
CREATE: StateKey = ("m.room.create", "")


@dataclass(frozen=True, slots=True)
class ToldState:
    """events: stripped state events that may be shown. problems: what was wrong with what came, in words."""

    events: list[dict[str, Any]]
    problems: list[str]


def stripped(event: Event) -> dict[str, Any]:
    """A state event as stripped state."""
    return {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
    }


def is_strict(rules: RoomRules) -> bool:
    """Whether a room of this version is told of by whole events alone.

    "servers SHOULD warn about invites which fail the validation rather than error in room versions 1 through 11."
    """
    return rules.room_id_is_create_hash


def told_version(entries: Sequence[Any]) -> str:
    """The room version that the create event among these names; "1" when there is none."""
    for entry in entries:
        if isinstance(entry, Mapping) and entry.get("type") == "m.room.create":
            content = entry.get("content")
            version = content.get("room_version", "1") if isinstance(content, Mapping) else "1"
            return version if isinstance(version, str) else "1"
    return "1"


async def told_state(
    received: ReceivedEvents, rules: RoomRules, room_id: str, entries: Sequence[Any]
) -> ToldState:
    """Check what another server tells of a room. Never raises for what is wrong with it."""
    problems: list[str] = []
    if len(entries) > MAX_TOLD:
        problems.append(f"there are {len(entries)} events; at most {MAX_TOLD} are looked at")
    whole: dict[StateKey, Event] = {}
    short: dict[StateKey, dict[str, Any]] = {}
    for entry in entries[:MAX_TOLD]:
        try:
            event = parse_pdu(entry, rules, room_id=room_id)
            if event.state_key is None:
                raise InvalidEvent("it is no state event")
        except InvalidEvent as invalid:
            problems.append(f"{_name(entry)} is not an event of the room: {invalid.reason}")
            if not is_strict(rules) and (kept := _short(entry)) is not None:
                short.setdefault((kept["type"], kept["state_key"]), kept)
        else:
            whole.setdefault(event.key, event)
    checked = await received.verify(list(whole.values()))
    problems += [f"{event_id}: {dropped.reason}" for event_id, dropped in checked.dropped.items()]
    shown = {event.key: stripped(event) for event in checked.events.values()}
    for key, kept in short.items():
        shown.setdefault(key, kept)
    for key, size in _beyond(shown):
        problems.append(f"{key[0]} goes beyond {MAX_TOLD_BYTES} bytes in all, with its {size} bytes")
        del shown[key]
    problem = _create_problem(shown.get(CREATE), rules)
    if problem:
        problems.append(problem)
        shown.pop(CREATE, None)
    return ToldState(list(shown.values()), problems)


def _beyond(shown: Mapping[StateKey, Mapping[str, Any]]) -> list[tuple[StateKey, int]]:
    """The events that are too much, with their sizes; the first that fit stay."""
    total, found = 0, []
    for key, event in shown.items():
        size = len(json.dumps(event))
        if total + size > MAX_TOLD_BYTES:
            found.append((key, size))
        else:
            total += size
    return found


def _create_problem(create: Mapping[str, Any] | None, rules: RoomRules) -> str | None:
    if create is None:
        return "m.room.create is missing"
    version = create["content"].get("room_version", "1")
    if version != rules.version:
        return f"m.room.create is of room version {version!r:.40}, not {rules.version}"
    return None


def _short(entry: Any) -> dict[str, Any] | None:
    """A stripped state event, if it is one; None for anything else, as for a whole event that is not valid."""
    if not isinstance(entry, Mapping) or "hashes" in entry or "prev_events" in entry:
        return None
    kept = {name: entry.get(name) for name in ("type", "state_key", "sender", "content")}
    if not isinstance(kept["type"], str) or not isinstance(kept["state_key"], str):
        return None
    if not is_valid_user_id(kept["sender"]) or not isinstance(kept["content"], Mapping):
        return None
    try:
        return kept if len(encode_canonical(kept)) <= MAX_EVENT_BYTES else None
    except CanonicalJSONError:
        return None


def _name(entry: Any) -> str:
    event_type = entry.get("type") if isinstance(entry, Mapping) else None
    return f"{event_type!r:.80}"
