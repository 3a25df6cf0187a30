"""The first checks of events that come from other servers: format, signatures, content hash.

Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from homeserver.core.errors import InvalidEvent, invalid_param
from homeserver.core.events import Event, has_valid_content_hash, left_as_found, parse_pdu, redact
from homeserver.core.probable_event_id import probable_event_id
from homeserver.core.room_versions import RoomRules

IN_THREAD_ABOVE = 8
BATCH = 100


class EventSignatures(Protocol):
    """What checks signatures: `federation.key_ring.KeyRing`."""

    async def verify_events(self, events: Iterable[Event]) -> Mapping[str, str | None]:
        """Event ID to None if the required signatures hold, else to the reason."""
        ...


class Dropped(NamedTuple):
    """Why a PDU was dropped. `check`: "format" or "signature"."""

    check: str
    reason: str


@dataclass(slots=True)
class Received:
    """What was left of some PDUs after the checks.

    `events` by ID; those whose content hash is wrong are redacted, and their IDs are in `redacted`. `dropped` by event ID, or by
    another name where the ID cannot be told.
    """

    events: dict[str, Event] = field(default_factory=dict)
    redacted: set[str] = field(default_factory=set)
    dropped: dict[str, Dropped] = field(default_factory=dict)


class ReceivedEvents:
    """Turns PDUs into events that may be trusted to be what their senders' servers signed."""

    def __init__(self, signatures: EventSignatures) -> None:
        """`signatures` has the keys of all servers."""
        self._signatures = signatures

    async def check(self, pdus: Sequence[Any], rules: RoomRules, room_id: str) -> Received:
        """Checks 1 to 3 for PDUs that should be of this room. Never raises for what is wrong with a PDU."""
        events, dropped = await _off_loop(len(pdus), _parse, pdus, rules, room_id)
        received = await self.verify(events)
        received.dropped.update(dropped)
        return received

    async def verify(self, events: Sequence[Event]) -> Received:
        """Checks 2 and 3 for events whose format has been checked."""
        received = Received()
        problems = await self._signatures.verify_events(events)
        signed = []
        for event in events:
            # 2. "Passes signature checks, otherwise it is dropped."
            problem = problems[event.event_id]
            if problem is None:
                signed.append(event)
            else:
                received.dropped[event.event_id] = Dropped("signature", problem)
        # 3. "Passes hash checks, otherwise it is redacted before being processed further."
        for batch in _batches(signed):
            for event, whole in await _off_loop(len(signed), _hashed, batch):
                received.events[event.event_id] = event
                if not whole:
                    received.redacted.add(event.event_id)
        return received


def offered_event(pdu: Mapping[str, Any], rules: RoomRules, room_id: str) -> Event:
    """1. "Is a valid event", for the one event that a request brings: whoever made it is answered M_INVALID_PARAM and why."""
    try:
        return parse_pdu(pdu, rules, room_id=room_id)
    except InvalidEvent as invalid:
        raise invalid_param(
            f"Not a valid event of room version {rules.version}: {invalid.reason}"
        ) from invalid


def _parse(pdus: Sequence[Any], rules: RoomRules, room_id: str) -> tuple[list[Event], dict[str, Dropped]]:
    """1. "Is a valid event, otherwise it is dropped." """
    events: list[Event] = []
    dropped: dict[str, Dropped] = {}
    for number, pdu in enumerate(pdus):
        try:
            events.append(parse_pdu(pdu, rules, room_id=room_id))
        except InvalidEvent as invalid:
            name = probable_event_id(pdu, rules) or f"(PDU {number} of the list)"
            dropped[name] = Dropped("format", invalid.reason)
    return events, dropped


def _hashed(events: Sequence[Event]) -> list[tuple[Event, bool]]:
    with left_as_found(events):
        return [
            (event, True) if has_valid_content_hash(event) else (redact(event), False) for event in events
        ]


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


async def _off_loop(total: int, work: Any, *args: Any) -> Any:
    """Run it in a thread when there is much of it, so that the event loop stays free."""
    return await asyncio.to_thread(work, *args) if total > IN_THREAD_ABOVE else work(*args)
