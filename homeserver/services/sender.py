"""Sends what is in the outbox to other servers: one transaction at a time to each, as soon as there is something.

What must arrive is in the database; here are only the servers that are being sent to, and those that do not answer. A server
with nothing to get costs nothing, and nobody polls: a commit wakes the queue, a timer wakes it after a failure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from prometheus_client import Counter

from homeserver.core.backoff import BackoffPolicy, retry_delay_ms
from homeserver.core.canonical_json import encode_canonical
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.transactions import MAX_EDUS, MAX_PDUS, transaction_body
from homeserver.services.clock import Clock
from homeserver.services.slots import Slots
from homeserver.storage import destinations, federation_health, outbox
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import Failing
from homeserver.storage.outbox import Unanswered

log = logging.getLogger(__name__)

SendTransaction = Callable[[str, str, bytes], Awaitable[Mapping[str, str | None]]]
"""(destination, transaction ID, body as canonical JSON) -> event ID to None, or to what was wrong with it. Raises
FederationError. `federation.remote.transactions.send_transaction` on a client is one."""

MAX_WAITING_EDUS = 1_000
MAX_IN_FLIGHT = 200
"""Transactions on their way at the same time, over all destinations."""

CATCH_UP_AFTER_MS = 3_600_000
"""A server that was away for longer gets only the newest event of each room: it fetches the rest itself."""

PAUSE_AFTER_VAIN_TRY_MS = 5_000
LONGEST_PAUSE_MS = 600_000
"""Hearing from a server has it tried again at once. When such a try fails, the server reaches us and yet is out of our
reach: the next ones come no sooner after the last than this, and twice as late after each that was in vain."""

SLOW_AFTER_S = 5.0
MAX_SLOW = 250
"""A transaction that is not answered after this long makes room for those to other servers, as long as not more than so
many are slow: servers that let our requests hang hold up nobody but themselves."""

STOP_GRACE_S = 0.5

NOTE_SUCCESS_EVERY_MS = 60_000
MOST_SUCCESSES = 10_000

# What a server answers to a body it will never take.
REFUSED = frozenset({"M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE", "M_INVALID_PARAM"})

sent_transactions = Counter(
    "homeserver_federation_sent_transactions_total",
    "Transactions to other servers, by how they ended.",
    ["result"],
)
sent_pdus = Counter(
    "homeserver_federation_sent_pdus_total",
    "PDUs in answered transactions, by the other server's verdict.",
    ["result"],
)


@dataclass(slots=True)
class _Peer:
    """A server that is being sent to, or that does not answer."""

    name: str
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    failing: Failing | None = None
    attempted_ms: int = 0
    vain_tries: int = 0  # tries in a row that were made because it was heard from, and failed
    heard: bool = False  # whether it was heard from since the last try began
    hastened: bool = False  # whether the try that is under way was made because it was heard from
    woken: bool = False
    unanswered: Unanswered | None = None
    looked_up: bool = False  # whether `unanswered` has been read from the database
    limit: int = MAX_PDUS
    edus: dict[object, bytes] = field(default_factory=dict)


class Sender:
    """The queues to other servers."""

    def __init__(
        self,
        database: Database,
        send: SendTransaction,
        server_name: str,
        clock: Clock,
        policy: BackoffPolicy,
        random: Random,
    ) -> None:
        """`send` makes the request; `policy` and `random` say when to repeat a failed one."""
        self._database = database
        self._send = send
        self._server_name = server_name
        self._clock = clock
        self._policy = policy
        self._random = random
        self._peers: dict[str, _Peer] = {}
        self._slots = Slots(MAX_IN_FLIGHT, MAX_SLOW, SLOW_AFTER_S)
        self._stopping = False
        # When the last success of each was noted: not with every transaction, which would be a write more.
        self._succeeded_at: dict[str, int] = {}

    async def start(self) -> None:
        """Take up what was left undone when the server stopped."""

        async def work(tx: Transaction) -> tuple[list[str], list[Failing]]:
            return await outbox.waiting(tx), await destinations.failing(tx)

        waiting, failing = await self._database.read(work)
        for row in failing:
            # Something may be on its way already.
            peer = self._peers.setdefault(row.destination, _Peer(row.destination))
            peer.failing = row
            self._wait(peer, row.retry_at)
        if failing:
            log.info("%d servers did not answer when last tried; they are tried again in time", len(failing))
        self.wake(name for name in waiting if name not in self._peers)

    async def stop(self) -> None:
        """Let transactions on their way end, for a moment; what is not answered by then is repeated after the next start."""
        self._stopping = True
        tasks = [peer.task for peer in self._peers.values() if peer.task]
        for peer in self._peers.values():
            if peer.timer:
                peer.timer.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def wake(self, names: Iterable[str]) -> None:
        """There is something new in the outbox for these servers."""
        for name in names:
            peer = self._peers.setdefault(name, _Peer(name))
            if peer.failing is None:
                self._begin(peer)

    def heard_from(self, name: str) -> None:
        """A server has made a request that bears its signature: if it did not answer before, it may now."""
        peer = self._peers.get(name)
        if peer is None or peer.heard:
            return
        peer.heard = True
        if peer.failing is not None and peer.task is None:
            self._hasten(peer, peer.failing)

    def retry(self, name: str) -> bool:
        """Try a server that does not answer again at once, because somebody asks for it; False when it is not failing."""
        peer = self._peers.get(name)
        if peer is None or peer.failing is None:
            return False
        peer.vain_tries = 0
        self._begin(peer)
        return True

    def queue_edu(
        self, names: Iterable[str], edu_type: str, content: Mapping[str, Any], *, replaces: object = None
    ) -> None:
        """Send an EDU to these servers. It is not kept: those that do not answer now never get it.

        A waiting EDU with the same `replaces` is overtaken by this one.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#edus
        """
        edu = encode_canonical({"edu_type": edu_type, "content": content})
        for name in names:
            peer = self._peers.setdefault(name, _Peer(name))
            if peer.failing is None:
                peer.edus[object() if replaces is None else (edu_type, replaces)] = edu
                while len(peer.edus) > MAX_WAITING_EDUS:
                    peer.edus.pop(next(iter(peer.edus)))
                self._begin(peer)

    def _hasten(self, peer: _Peer, failing: Failing) -> None:
        """Try a server that was heard from before its time."""
        pause = (
            min(PAUSE_AFTER_VAIN_TRY_MS << min(peer.vain_tries - 1, 20), LONGEST_PAUSE_MS)
            if peer.vain_tries
            else 0
        )
        at = peer.attempted_ms + pause
        if at < failing.retry_at:
            peer.hastened = True
            self._wait(peer, at)

    def _wait(self, peer: _Peer, until_ms: int) -> None:
        if peer.timer:
            peer.timer.cancel()
        delay = max(0, until_ms - self._clock()) / 1000
        peer.timer = asyncio.get_running_loop().call_later(delay, self._begin, peer)

    def _begin(self, peer: _Peer) -> None:
        """Have the peer's queue emptied, or see to it that whoever does so looks once more."""
        peer.woken = True
        if peer.timer:
            peer.timer.cancel()
            peer.timer = None
        if peer.task is None and not self._stopping:
            peer.task = asyncio.create_task(self._drain(peer), name=f"send to {peer.name}")

    async def _drain(self, peer: _Peer) -> None:
        """Send until there is nothing left or the server does not answer."""
        try:
            more = True
            while more and not self._stopping:
                async with self._slots.taken():
                    more = await self._send_next(peer)
        except Exception:
            log.exception("sending to %s failed for a reason of our own; it is tried again later", peer.name)
            await self._failed(peer, None, "an error of our own, see the log")
        finally:
            peer.task = None
            if peer.failing is not None:
                if peer.heard:  # while the try was under way
                    self._hasten(peer, peer.failing)
                if peer.timer is None:  # the time of the next try came while the failure was being noted
                    self._begin(peer)
            elif peer.woken:
                self._begin(peer)
            else:
                self._peers.pop(peer.name, None)

    async def _send_next(self, peer: _Peer) -> bool:
        """Send one transaction; False when there was none or it failed."""
        peer.woken = peer.heard = False
        peer.attempted_ms = self._clock()
        transaction, edus = await self._next(peer)
        if transaction is None:
            return False
        try:
            answer = await self._send(peer.name, transaction.transaction_id, transaction.body)
        except asyncio.CancelledError:
            await self._database.write(lambda tx: outbox.keep_unanswered(tx, peer.name, transaction))
            raise
        except FederationError as error:
            return await self._unsuccessful(peer, transaction, error)
        for key, edu in edus.items():
            if peer.edus.get(key) is edu:
                del peer.edus[key]
        await self._succeeded(peer, transaction, answer)
        return True

    async def _next(self, peer: _Peer) -> tuple[Unanswered | None, dict[object, bytes]]:
        """The transaction to send now: the unanswered one, or a new one; with the waiting EDUs that are in it."""
        if peer.unanswered:
            return peer.unanswered, {}

        async def work(tx: Transaction) -> tuple[Unanswered | None, list[outbox.Queued]]:
            kept = None if peer.looked_up else await outbox.unanswered(tx, peer.name)
            return kept, await outbox.oldest(tx, peer.name, peer.limit)

        kept, queued = await self._database.read(work)
        peer.looked_up = True
        if kept:
            peer.unanswered = kept
            return kept, {}
        edus = dict(list(peer.edus.items())[:MAX_EDUS])
        if not queued and not edus:
            if peer.failing:  # what it did not answer is not needed any more
                await self._works(peer)
            return None, {}
        pdus = [row.canonical for row in queued]
        body = transaction_body(self._server_name, self._clock(), pdus, list(edus.values()))
        nids = tuple(row.event_nid for row in queued)
        peer.unanswered = Unanswered(secrets.token_urlsafe(12), nids, body)
        return peer.unanswered, edus

    async def _succeeded(
        self, peer: _Peer, transaction: Unanswered, answer: Mapping[str, str | None]
    ) -> None:
        """Take what was sent out of the outbox."""
        was_failing, now = peer.failing, self._clock()
        is_news = (
            was_failing is not None or self._succeeded_at.get(peer.name, 0) < now - NOTE_SUCCESS_EVERY_MS
        )
        if is_news:
            self._succeeded_at[peer.name] = now
            if len(self._succeeded_at) > MOST_SUCCESSES:
                self._succeeded_at.clear()

        async def work(tx: Transaction) -> None:
            await outbox.done(tx, peer.name, transaction.event_nids)
            if is_news:
                await federation_health.note_success(tx, peer.name, now)
            if was_failing:
                await destinations.set_working(tx, peer.name)
                await self._shorten(tx, was_failing)

        await self._database.write(work)
        if was_failing:
            log.info("%s answers again", peer.name)
        peer.unanswered, peer.failing, peer.limit = None, None, MAX_PDUS
        peer.vain_tries, peer.hastened = 0, False
        sent_transactions.labels("ok").inc()
        _note_verdicts(peer.name, answer, len(transaction.event_nids))

    async def _shorten(self, tx: Transaction, failing: Failing) -> None:
        """Keep only the newest event of each room for a server that was away for long: it fetches the others itself."""
        if self._clock() - failing.failing_since > CATCH_UP_AFTER_MS:
            await outbox.keep_newest_per_room(tx, failing.destination)

    async def _works(self, peer: _Peer) -> None:
        await self._database.write(partial(destinations.set_working, destination=peer.name))
        peer.failing = None

    async def _unsuccessful(self, peer: _Peer, transaction: Unanswered, error: FederationError) -> bool:
        """Decide on a transaction that did not succeed; True to go on at once."""
        sent_transactions.labels(error.stage).inc()
        told = error.stage == "http" and error.status in (400, 413) and error.errcode in REFUSED
        if not told and error.stage != "request" and error.status != 413:
            await self._failed(peer, transaction, str(error.reason))
            return False
        # The server will never take this body: find the event that is to blame by sending fewer at a time.
        if len(transaction.event_nids) > 1:
            peer.limit = max(1, len(transaction.event_nids) // 2)
            dropped: tuple[int, ...] = ()
        elif not told and error.stage != "request":  # a proxy's limit, which somebody may raise
            await self._failed(peer, transaction, str(error.reason))
            return False
        else:
            dropped = transaction.event_nids
            log.warning(
                "%s does not take an event of ours, which it will not get: %s", peer.name, error.reason
            )
            sent_pdus.labels("dropped").inc(len(dropped))
            peer.limit = MAX_PDUS
        await self._database.write(lambda tx: outbox.done(tx, peer.name, dropped))
        peer.unanswered = None
        peer.edus.clear()
        return True

    async def _failed(self, peer: _Peer, transaction: Unanswered | None, reason: str) -> None:
        """Note the failure and when to try again."""
        now = self._clock()
        failures = peer.failing.failures + 1 if peer.failing else 1
        delay = retry_delay_ms(failures, self._random.random(), self._policy)
        since = peer.failing.failing_since if peer.failing else now
        failing = Failing(peer.name, since, failures, now + delay, reason[:1_000])

        peer.failing = failing
        peer.vain_tries += peer.hastened
        peer.hastened = False
        peer.edus.clear()
        self._wait(peer, failing.retry_at)

        async def work(tx: Transaction) -> None:
            await destinations.set_failing(tx, failing)
            await federation_health.note_failure(tx, peer.name, now, failing.reason)
            await self._shorten(tx, failing)
            if transaction:
                await outbox.keep_unanswered(tx, peer.name, transaction)

        await self._database.write(work)
        if transaction:  # what many servers have not answered is held by the database, not in memory
            peer.unanswered, peer.looked_up = None, False
        level = logging.WARNING if failures == 1 else logging.INFO
        log.log(level, "%s does not answer (%s); next try in %d s", peer.name, reason, delay // 1000)


def _note_verdicts(name: str, verdicts: Mapping[str, str | None], count: int) -> None:
    """Count and log what the other server says of the PDUs."""
    refused = {event_id: error for event_id, error in verdicts.items() if error is not None}
    for event_id, error in refused.items():
        log.info("%s refuses our event %s: %s", name, event_id, error)
    sent_pdus.labels("refused").inc(min(len(refused), count))
    sent_pdus.labels("accepted").inc(max(0, count - len(refused)))
