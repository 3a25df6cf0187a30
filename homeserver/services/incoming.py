"""Transactions of other servers: each event is answered separately, a repeated transaction gets the answer it got before.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from homeserver.core import errors
from homeserver.core.identifiers import is_valid_room_id
from homeserver.core.probable_event_id import probable_event_id
from homeserver.federation.remote.transactions import MAX_EDUS, MAX_PDUS
from homeserver.services.clock import Clock
from homeserver.services.event_intake import allowance_of_a_transaction
from homeserver.services.incoming_edus import IncomingEDUs
from homeserver.services.room_inbox import RoomInbox, received_pdus
from homeserver.storage import inbound_transactions
from homeserver.storage.database import Database, DatabaseError

log = logging.getLogger(__name__)

KEEP_ANSWERS_MS = 24 * 3_600_000
MAX_TRANSACTION_ID = 255
STOP_GRACE_S = 0.5
MAX_WAITING = 10
"""Transactions of one server that are worked on or wait. By the specification there is one at a time."""


class IncomingTransactions:
    """Works transactions off."""

    def __init__(
        self,
        database: Database,
        inbox: RoomInbox,
        edus: IncomingEDUs,
        clock: Clock,
        on_refused: Callable[[str, str, str], None] = lambda *_: None,
    ) -> None:
        """Events go to `inbox`, EDUs to `edus`; answers are kept in the database for a day.

        on_refused: is told of each event that is not accepted: (origin, what, reason).
        """
        self._database = database
        self._inbox = inbox
        self._edus = edus
        self._clock = clock
        self._on_refused = on_refused
        self._running: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._waiting: Counter[str] = Counter()

    async def take(self, origin: str, transaction_id: str, pdus: Sequence[Any], edus: Sequence[Any]) -> bytes:
        """The JSON that the transaction is answered with: `{"pdus": {event ID: {} or {"error"}}}`.

        A transaction that is being worked on is not begun again: who repeats it waits for the same answer. Raises MatrixError for
        a transaction that is refused as a whole: M_BAD_JSON beyond 50 PDUs or 100 EDUs, M_LIMIT_EXCEEDED for too many at once.
        """
        if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
            raise errors.bad_json(
                f"A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs; this one has {len(pdus)} and {len(edus)}"
            )
        if "\0" in transaction_id or len(transaction_id) > MAX_TRANSACTION_ID:
            raise errors.invalid_param(
                f"A transaction ID has at most {MAX_TRANSACTION_ID} characters and no NUL"
            )
        key = (origin, transaction_id)
        task = self._running.get(key)
        if task is None:
            if self._waiting[origin] >= MAX_WAITING:
                raise errors.limit_exceeded("Too many transactions at once: send one after the other", 5_000)
            self._waiting[origin] += 1
            task = asyncio.create_task(self._take(origin, transaction_id, pdus, edus))
            self._running[key] = task
            task.add_done_callback(lambda _: self._finished(key))
        return await asyncio.shield(task)

    @property
    def running(self) -> int:
        """How many transactions are being worked on."""
        return len(self._running)

    async def stop(self) -> None:
        """Let the transactions that are being worked on end, for a moment; the others are not answered, and come again."""
        tasks = list(self._running.values())
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: tuple[str, str]) -> None:
        del self._running[key]
        self._waiting[key[0]] -= 1
        if not self._waiting[key[0]]:
            del self._waiting[key[0]]

    async def _take(
        self, origin: str, transaction_id: str, pdus: Sequence[Any], edus: Sequence[Any]
    ) -> bytes:
        before = await self._database.read(lambda tx: inbound_transactions.answer(tx, origin, transaction_id))
        if before is not None:
            return before
        answers = await self._take_events(origin, pdus)
        for event_id, error in answers.items():
            if error is not None:
                self._on_refused(origin, f"event {event_id}", error)
        await self._edus.take(origin, edus)
        verdicts = {
            event_id: {} if error is None else {"error": error} for event_id, error in answers.items()
        }
        response = json.dumps({"pdus": verdicts}, separators=(",", ":")).encode()
        now = self._clock()
        await self._database.write(
            lambda tx: inbound_transactions.record(
                tx, origin, transaction_id, response, now_ms=now, keep_ms=KEEP_ANSWERS_MS
            )
        )
        return response

    async def _take_events(self, origin: str, pdus: Sequence[Any]) -> dict[str, str | None]:
        answers: dict[str, str | None] = {}
        by_room: dict[str, list[Any]] = {}
        for pdu in pdus:
            room_id = _room_id(pdu)
            if room_id is not None:
                by_room.setdefault(room_id, []).append(pdu)
                continue
            received_pdus.labels("bad_format").inc()
            log.info("dropped an event of %s: it has no valid room_id", origin)
            event_id = probable_event_id(pdu, None)
            if event_id is not None:
                answers[event_id] = "Not accepted: it has no valid room_id"
        allowance = allowance_of_a_transaction()
        taken = await asyncio.gather(
            *(self._inbox.take(origin, room_id, events, allowance) for room_id, events in by_room.items()),
            return_exceptions=True,
        )
        for (room_id, events), result in zip(by_room.items(), taken, strict=True):
            if isinstance(result, BaseException):
                log.error("taking the events of %s for %s failed", origin, room_id, exc_info=result)
                if isinstance(result, DatabaseError | asyncio.CancelledError):
                    # Not answered at all, so that the sender repeats the transaction.
                    raise errors.unknown(
                        f"The events of {room_id} could not be stored; send them again"
                    ) from result
                # A mistake of ours: were the transaction not answered, nothing of that server would ever come through again.
                received_pdus.labels("failed").inc(len(events))
                result = {
                    event_id: "Not accepted: an error of this server's own"
                    for pdu in events
                    if (event_id := probable_event_id(pdu, None))
                }
            answers.update(result)
        return answers


def _room_id(pdu: Any) -> str | None:
    """The room of a PDU. The create event of room version 12 names none, and is never sent by itself."""
    if not isinstance(pdu, Mapping):
        return None
    room_id = pdu.get("room_id")
    return room_id if is_valid_room_id(room_id) else None
