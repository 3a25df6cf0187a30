"""Pushes to the gateways of users' apps: each pusher is told one thing after the other, as soon as there is something.

What a pusher has been told is in the database, and what it has not follows from the notifications; here are only the pushers'
tasks and timers. A commit wakes those of the users whom it concerns. No pusher waits for another's gateway.

Spec: https://spec.matrix.org/v1.19/push-gateway-api/#homeserver-behaviour
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from prometheus_client import Counter

from homeserver.core.backoff import BackoffPolicy, retry_delay_ms
from homeserver.federation.push_gateways import PushGatewayError
from homeserver.services.clock import Clock
from homeserver.services.notifier import Committed
from homeserver.services.push.news import News, PusherNews
from homeserver.storage import pushers
from homeserver.storage.database import Database
from homeserver.storage.pushers import Progress

log = logging.getLogger(__name__)

Notify = Callable[[str, Mapping[str, Any]], Awaitable[list[str]]]
"""(URL, body) -> rejected pushkeys. Raises PushGatewayError. `federation.push_gateways.PushGateways.notify` is one."""

POLICY: Final = BackoffPolicy(quick=(), first_ms=1_000, multiplier=2.0, most_ms=3_600_000)
READERS: Final = 8
"""How many pushers look into the database at the same time: at start-up all of them have something to look for."""

STOP_GRACE_S: Final = 0.5

sent_pushes = Counter("homeserver_pushes_total", "Requests to push gateways, by how they ended.", ["result"])


@dataclass(slots=True)
class _Queue:
    """A pusher that there is. badge: the number that it was told last, None if that is not known here."""

    pusher_id: int
    user_id: str
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    is_failing: bool = False
    woken: bool = False
    badge: int | None = None


class Delivery:
    """Tells the pushers what is new."""

    def __init__(
        self,
        database: Database,
        news: PusherNews,
        notify: Notify,
        clock: Clock,
        random: Random,
        jitter_ms: int = 0,
    ) -> None:
        """`notify` makes the requests; each waits for a random time up to `jitter_ms` first."""
        self._database = database
        self._news = news
        self._notify = notify
        self._clock = clock
        self._random = random
        self._jitter_ms = jitter_ms
        self._queues: dict[int, _Queue] = {}
        self._of_user: dict[str, set[int]] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._stopping = False

    async def start(self) -> None:
        """Take up what was left undone when the server stopped."""
        for pusher_id, user_id, retry_at in await self._database.read(pushers.every):
            queue = self._add(user_id, pusher_id)
            if retry_at is None:
                self._begin(queue)
            else:
                queue.is_failing = True
                self._wait(queue, retry_at)

    async def stop(self) -> None:
        """Let requests on their way end, for a moment; what is not answered by then is sent again after the next start."""
        self._stopping = True
        for queue in self._queues.values():
            if queue.timer:
                queue.timer.cancel()
        tasks = [queue.task for queue in self._queues.values() if queue.task]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def committed(self, committed: Committed) -> None:
        """Wake the pushers of those whose notifications have changed."""
        if not self._of_user:
            return
        for user_id in self._of_user.keys() & committed.notified:
            self._wake(user_id, is_read=False)
        for user_id in self._of_user.keys() & committed.read:
            self._wake(user_id, is_read=True)

    def is_set(self, user_id: str, pusher_id: int) -> None:
        """A pusher has been set, perhaps anew: with a gateway that works, maybe."""
        queue = self._queues.get(pusher_id) or self._add(user_id, pusher_id)
        queue.is_failing = False
        self._begin(queue)

    def is_gone(self, pusher_id: int) -> None:
        """A pusher is no more. One that is gone without that this was told finds out by itself."""
        queue = self._queues.pop(pusher_id, None)
        if queue is None:
            return
        if queue.timer:
            queue.timer.cancel()
        others = self._of_user[queue.user_id]
        others.discard(pusher_id)
        if not others:
            del self._of_user[queue.user_id]

    def _add(self, user_id: str, pusher_id: int) -> _Queue:
        queue = self._queues[pusher_id] = _Queue(pusher_id, user_id)
        self._of_user.setdefault(user_id, set()).add(pusher_id)
        return queue

    def _wake(self, user_id: str, *, is_read: bool) -> None:
        for pusher_id in self._of_user[user_id]:
            queue = self._queues[pusher_id]
            # Where no number is shown there cannot be a smaller one: so it is with most messages that users send.
            is_idle = not queue.badge and queue.task is None
            if not queue.is_failing and not (is_read and is_idle):
                self._begin(queue)

    def _wait(self, queue: _Queue, until_ms: int) -> None:
        if queue.timer:
            queue.timer.cancel()
        delay = max(0, until_ms - self._clock()) / 1000
        queue.timer = asyncio.get_running_loop().call_later(delay, self._begin, queue)

    def _begin(self, queue: _Queue) -> None:
        """Have the pusher told, or see to it that whoever does so looks once more."""
        queue.woken = True
        if queue.timer:
            queue.timer.cancel()
            queue.timer = None
        if queue.task is None and not self._stopping:
            queue.task = asyncio.create_task(self._drain(queue), name=f"push to {queue.pusher_id}")

    async def _drain(self, queue: _Queue) -> None:
        try:
            while not self._stopping and await self._push_next(queue):
                pass
        except Exception:
            log.exception(
                "pushing to %s failed for a reason of our own; it is tried again later", queue.user_id
            )
            queue.is_failing = True
            queue.woken = False
            self._wait(queue, self._clock() + POLICY.most_ms // 60)
        finally:
            queue.task = None
            # One that fails waits, unless the time of its next try came while the failure was being noted.
            is_due = queue.timer is None if queue.is_failing else queue.woken
            if is_due and queue.pusher_id in self._queues:
                self._begin(queue)

    async def _push_next(self, queue: _Queue) -> bool:
        """Push one thing; False when there was none, or it failed."""
        queue.woken = False
        if self._jitter_ms:
            await asyncio.sleep(self._random.random() * self._jitter_ms / 1000)
        async with self._readers:
            news = await self._database.read(lambda tx: self._news.next(tx, queue.pusher_id, self._clock()))
        if news is None:
            self.is_gone(queue.pusher_id)
            return False
        if news.body is None:
            await self._done(queue, news, news.stored.progress.badge)
            return False
        pusher = news.stored.pusher
        try:
            rejected = await self._notify(str(pusher.data["url"]), news.body)
        except PushGatewayError as error:
            sent_pushes.labels("failed").inc()
            await self._failed(queue, news, str(error))
            return False
        sent_pushes.labels("ok").inc()
        if pusher.pushkey in rejected:
            log.info("the push gateway has no use for %s of %s any more", pusher.app_id, pusher.user_id)
            await self._database.write(
                lambda tx: pushers.remove(tx, pusher.user_id, pusher.app_id, pusher.pushkey)
            )
            self.is_gone(queue.pusher_id)
            return False
        await self._done(queue, news, news.badge)
        return True

    async def _done(self, queue: _Queue, news: News, badge: int | None) -> None:
        """Note what the pusher has been told. badge: the number that it knows now."""
        queue.is_failing = False
        queue.badge = badge
        progress = Progress(news.position, badge)
        if progress != news.stored.progress:
            await self._keep(news, progress)

    async def _failed(self, queue: _Queue, news: News, reason: str) -> None:
        """Note the failure and when to try again."""
        now, before = self._clock(), news.stored.progress
        failures = before.failures + 1
        delay = retry_delay_ms(failures, self._random.random(), POLICY)
        queue.is_failing = True
        self._wait(queue, now + delay)
        level = logging.WARNING if failures == 1 else logging.INFO
        log.log(level, "cannot push to %s (%s); next try in %d s", queue.user_id, reason, delay // 1000)
        failing_since = now if before.failing_since is None else before.failing_since
        await self._keep(
            news, replace(before, failures=failures, failing_since=failing_since, retry_at=now + delay)
        )

    async def _keep(self, news: News, progress: Progress) -> None:
        pusher_id = news.stored.pusher_id
        await self._database.write(lambda tx: pushers.set_progress(tx, pusher_id, progress))
