"""The events of one room that another server sent: who may send here, the first checks, and into the graph.

Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from prometheus_client import Counter

from homeserver.core.probable_event_id import probable_event_id
from homeserver.services.event_intake import EventIntake, Intake, allowance_of_a_transaction
from homeserver.services.gap_allowance import GapAllowance
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.outside_events import OutsideEvents
from homeserver.services.peer_access import acl_refusal
from homeserver.services.received_events import Received, ReceivedEvents
from homeserver.services.room_graph import Outcome, Verdict
from homeserver.services.room_state import RoomStates
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

received_pdus = Counter(
    "homeserver_received_pdus_total",
    "PDUs in transactions of other servers, by what became of them.",
    ["result"],
)


class RoomInbox:
    """Takes events of rooms that we are in: those of one room one after the other, those of different rooms together."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        received: ReceivedEvents,
        intake: EventIntake,
        joins: JoinsInProgress,
        outside: OutsideEvents,
        server_name: str,
    ) -> None:
        """`joins`: the rooms that are being joined, whose events wait. `outside` takes events of rooms that we are not in."""
        self._database = database
        self._states = states
        self._received = received
        self._intake = intake
        self._joins = joins
        self._outside = outside
        self._server_name = server_name
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(
        self, origin: str, room_id: str, pdus: Sequence[Any], allowance: GapAllowance | None = None
    ) -> dict[str, str | None]:
        """Handle PDUs of one room: event ID to None, or to what `origin` is told went wrong.

        `allowance`: what filling gaps may cost; None: as for a transaction. Those whose event ID cannot be told are counted and
        logged only.
        """
        await self._joins.wait(room_id)
        room, result, refusal = await self._database.read(lambda tx: self._room(tx, origin, room_id))
        if room is None or refusal is not None:
            told = await self._outside.take(origin, room_id, pdus) if result == "not_in_room" else set()
            received_pdus.labels("outside").inc(len(told))
            rules = room.rules if room else None
            ids = (event_id for pdu in pdus if (event_id := probable_event_id(pdu, rules)))
            answers = dict.fromkeys(ids, refusal) | dict.fromkeys(told)
            refused = len(pdus) - len(told)
            if refused:
                received_pdus.labels(result).inc(refused)
                log.info("refused %d events of %s for %s: %s", refused, origin, room_id, refusal)
            return answers
        # Before the lock: while a key is fetched, the room's other events need not wait.
        received = await self._received.check(pdus, room.rules, room_id)
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        async with lock:
            intake = await self._intake.take(
                origin, room, list(received.events.values()), allowance or allowance_of_a_transaction()
            )
        return _answers(origin, room_id, received, intake)

    async def _room(self, tx: Transaction, origin: str, room_id: str) -> tuple[Room | None, str, str | None]:
        """The room, and when `origin` may not send here: a word for the counter and the reason."""
        room = await rooms.get(tx, room_id)
        if room is None or not await memberships.is_server_joined(tx, room.room_nid, self._server_name):
            return room, "not_in_room", f"{self._server_name} is not in the room {room_id}"
        refusal = await acl_refusal(tx, self._states, room, origin)
        return room, "denied_by_acl", refusal


def _answers(origin: str, room_id: str, received: Received, intake: Intake) -> dict[str, str | None]:
    """What the sender is told of each event; counted and logged here."""
    answers: dict[str, str | None] = {}
    for event_id, dropped in received.dropped.items():
        received_pdus.labels(f"bad_{dropped.check}").inc()
        log.info("dropped %s of %s for %s: %s", event_id, origin, room_id, dropped.reason)
        if event_id.startswith("$"):
            answers[event_id] = f"Not accepted: {dropped.reason}"
    for event_id in received.events:
        if event_id in received.redacted:
            received_pdus.labels("redacted").inc()
            log.info("%s of %s has a wrong content hash: it is kept redacted", event_id, origin)
        outcome = intake.outcomes.get(event_id)
        if outcome is None:
            received_pdus.labels("missing_events").inc()
            answers[event_id] = f"Not accepted: {intake.lost.get(event_id, 'events before it are missing')}"
            continue
        received_pdus.labels(outcome.verdict.value).inc()
        answers[event_id] = _told(outcome)
        if outcome.refusal is not None:
            verdict = outcome.verdict.value.replace("_", " ")
            log.info("%s %s of %s for %s: %s", verdict, event_id, origin, room_id, outcome.refusal)
    return answers


def _told(outcome: Outcome) -> str | None:
    """What the sender is told: of a rejected event why, of a soft-failed one nothing, for it is handled as usual."""
    if outcome.verdict is Verdict.REJECTED:
        return f"Rejected: {outcome.refusal}"
    if outcome.verdict is Verdict.DUPLICATE and outcome.stored_as is EventStatus.REJECTED:
        return "Rejected when it was first received"
    return None
