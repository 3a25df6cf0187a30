"""The verification keys of all servers, ours included: cached, stored, fetched when needed.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nacl.signing import VerifyKey

from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.events import Event, left_as_found
from homeserver.core.signing import json_signature_keys, verify_json
from homeserver.federation.errors import FederationError
from homeserver.federation.event_signatures import question_of, verify_batch
from homeserver.federation.key_fetcher import KeyFetcher, Wanted
from homeserver.federation.key_responses import InvalidKeys, StoredKey, StoredKeys, TrustedKeyServer, merge
from homeserver.federation.own_keys import OwnKeys
from homeserver.federation.transport import FederationClient

_log = logging.getLogger(__name__)

# Milliseconds. After a failure: a minute, doubling to an hour. After an answer without the wanted key: a
# short pause, so that made-up key IDs neither flood a server nor keep its real new key from us.
_FIRST_PAUSE = 60_000
_LONGEST_PAUSE = 3_600_000
_PAUSE_AFTER_ANSWER = 60_000
_CONCURRENT_FETCHES = 32
_NOTARIES_FIRST_ABOVE = 16
_VERIFY_IN_THREAD_ABOVE = 8
_BATCH = 200


_Result = TypeVar("_Result")
_Answers = tuple[dict[str, StoredKeys], dict[str, str]]


class KeyStore(Protocol):
    """Where keys outlive the process."""

    async def load(self, server_names: Collection[str]) -> Mapping[str, StoredKeys]:
        """What is stored of these servers; those of which nothing is stored are left out."""
        ...

    async def save(self, keys: Sequence[StoredKeys]) -> None:
        """Replace what is stored of each of these servers."""
        ...


class KeyUnavailable(Exception):
    """A key cannot be had, or not as long valid as asked. `reason` is for people."""

    def __init__(self, server_name: str, key_id: str, reason: str) -> None:
        super().__init__(f"the key {key_id} of {server_name} is not available: {reason}")
        self.server_name = server_name
        self.key_id = key_id
        self.reason = reason


@dataclass
class _Pause:
    reason: str
    until: int
    failures: int


class KeyRing:
    """Gets verify keys. Concurrent calls for one server share one fetch; failures are backed off with their
    reason.

    `clock` gives milliseconds since the epoch. Our own keys are never fetched.
    """

    def __init__(
        self,
        client: FederationClient,
        store: KeyStore,
        own: OwnKeys,
        notaries: Sequence[TrustedKeyServer] = (),
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        capacity: int = 20_000,
    ) -> None:
        self._fetcher = KeyFetcher(client, notaries)
        self._store = store
        self._own = own
        self._clock = clock
        self._capacity = capacity
        self._cache: OrderedDict[str, StoredKeys | None] = OrderedDict()  # None: nothing is stored either
        self._pauses: OrderedDict[str, _Pause] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._notary_queries: set[asyncio.Task[_Answers]] = set()
        self._unsaved: dict[str, StoredKeys] = {}
        self._saving: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(_CONCURRENT_FETCHES)

    async def key(
        self, server_name: str, key_id: str, valid_until: int, *, current: bool = False
    ) -> VerifyKey:
        """The key, valid at least until `valid_until` (milliseconds since the epoch; now for a request).

        With `current`, keys that the server publishes as old are refused: "old_verify_keys which are only
        valid for signing events". Raises KeyUnavailable.
        """
        if not key_id.startswith("ed25519:"):
            raise KeyUnavailable(server_name, key_id[:100], "only ed25519 keys are supported")
        await self.ensure({server_name: {key_id: valid_until}})
        stored = self._find(server_name, key_id)
        problem = self._problem(server_name, stored, valid_until, valid_until)
        if current and problem is None and stored is not None and stored.is_old:
            problem = "it is an old key, which is only valid for events"
        if stored is None or problem is not None:
            raise KeyUnavailable(server_name, key_id, problem or "unknown")
        return VerifyKey(stored.verify_key)

    def at_hand(self, server_name: str, key_id: str) -> VerifyKey | None:
        """The key if it is in the cache, whatever its validity: nobody is asked. For explanations to people."""
        stored = self._find(server_name, key_id)
        return None if stored is None else VerifyKey(stored.verify_key)

    async def verify_json(self, value: Mapping[str, Any], server_name: str, valid_until: int) -> str | None:
        """None if `value` is signed by a key of `server_name` that is valid until `valid_until`, else the
        reason.
        """
        key_ids = json_signature_keys(value, server_name)
        if not key_ids:
            return f"there is no signature of {server_name}"
        problems = []
        await self.ensure({server_name: dict.fromkeys(key_ids, valid_until)})
        for key_id in key_ids:
            try:
                key = await self.key(server_name, key_id, valid_until)
            except KeyUnavailable as error:
                problems.append(str(error))
                continue
            if verify_json(value, server_name, key_id, key):
                return None
            problems.append(f"the signature of {server_name} with {key_id} is wrong")
        return "; ".join(problems)

    async def verify_events(self, events: Iterable[Event]) -> dict[str, str | None]:
        """Check the required signatures of many events: event ID to None if they hold, else to the reason.

        All keys that are needed are fetched at once, and the signatures are verified off the event loop.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
        """
        events = list(events)
        batches = [events[start : start + _BATCH] for start in range(0, len(events), _BATCH)]
        few = len(events) <= _VERIFY_IN_THREAD_ABOVE
        wanted: dict[str, dict[str, int]] = {}
        for batch in batches:
            await _maybe_in_thread(few, _add_wanted, wanted, batch)
        await self.ensure(wanted)
        results: dict[str, str | None] = {}
        for batch in batches:
            results |= await _maybe_in_thread(few, self._verify_batch, batch)
        return results

    def _verify_batch(self, events: Sequence[Event]) -> dict[str, str | None]:
        with left_as_found(events):
            questions = [question_of(event) for event in events]
            for question in questions:
                question.choose_keys(self._find, self._problem)
            return verify_batch(questions)

    async def stored_keys(self, server_name: str, valid_until: int) -> StoredKeys | None:
        """Everything known of a server's keys, fetched anew if the newest response is not valid until
        `valid_until`.

        For answering as a notary: "should continue to return the last response they received" if the server
        is gone.
        """
        await self._load([server_name])
        known = self._cache.get(server_name)
        stale = known is None or known.valid_until < valid_until
        # Whoever asks for a time beyond all validity must not make us ask the server again and again.
        if stale and (known is None or self._clock() - known.fetched_ms > _PAUSE_AFTER_ANSWER):
            await self._fetch({server_name: {}})
        return self._cache.get(server_name)

    def failure(self, server_name: str) -> str | None:
        """Why the last fetch of this server's keys failed, while it is backed off."""
        pause = self._pauses.get(server_name)
        return pause.reason if pause is not None else None

    async def close(self) -> None:
        """Stop running fetches, and wait until what was fetched is stored."""
        tasks = [*self._fetching.values(), *self._notary_queries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._saving is not None:
            await self._saving

    async def ensure(self, wanted: Wanted) -> None:
        """Bring the wanted keys into the cache as far as they can be had. Never raises for a server's
        failure.
        """
        others = {name: keys for name, keys in wanted.items() if name != self._own.server_name}
        await self._load(others)
        missing = {name: keys for name, keys in others.items() if self._lacks(name, keys)}
        if missing:
            await self._fetch(missing)

    def _lacks(self, server_name: str, keys: Mapping[str, int]) -> bool:
        for key_id, valid_until in keys.items():
            stored = self._find(server_name, key_id)
            # An old key will not become valid again by asking.
            if stored is None or (not stored.is_old and stored.valid_until < valid_until):
                return True
        return False

    def _find(self, server_name: str, key_id: str) -> StoredKey | None:
        if server_name == self._own.server_name:
            return self._find_own(key_id)
        known = self._cache.get(server_name)
        for key in known.keys if known is not None else ():
            if key.key_id == key_id:
                return key
        return None

    def _find_own(self, key_id: str) -> StoredKey | None:
        current = self._own.verify_keys.get(key_id)
        if current is not None:
            return StoredKey(key_id, current.encode(), MAX_INTEGER, is_old=False)
        old = self._own.old_verify_keys.get(key_id)
        return StoredKey(key_id, old.verify_key.encode(), old.expired_ts, is_old=True) if old else None

    def _problem(
        self, server_name: str, key: StoredKey | None, valid_until: int, expired_after: int
    ) -> str | None:
        """Why the key cannot be used: it must be valid until `valid_until`, if old expired after
        `expired_after`.
        """
        pause = self._pauses.get(server_name)
        failed = f" ({pause.reason})" if pause is not None else ""
        if key is None:
            return "it is not known" + (failed or f"; {server_name} does not publish it")
        if key.is_old:
            return None if key.valid_until > expired_after else f"it expired at {key.valid_until}"
        if key.valid_until < valid_until:
            return f"it is only known to be valid until {key.valid_until}, not {valid_until}{failed}"
        return None

    async def _load(self, server_names: Iterable[str]) -> None:
        missing = []
        for name in server_names:
            if name in self._cache:
                self._cache.move_to_end(name)
            elif name != self._own.server_name:
                missing.append(name)
        if not missing:
            return
        stored = await self._store.load(missing)
        for name in missing:
            if name not in self._cache:
                self._remember(name, stored.get(name))

    def _remember(self, server_name: str, keys: StoredKeys | None) -> None:
        self._cache[server_name] = keys
        self._cache.move_to_end(server_name)
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)

    async def _fetch(self, wanted: Wanted) -> None:
        """Fetch what is not being fetched already and not paused, and wait for all of it."""
        now = self._clock()
        running = {self._fetching[name] for name in wanted if name in self._fetching}
        fresh = {
            name: keys
            for name, keys in wanted.items()
            if name not in self._fetching and not self._paused(name, now)
        }
        # A join to a large room needs the keys of thousands of servers, many of them gone: the notaries
        # answer at once for all. Otherwise each server is asked itself first.
        notaries: asyncio.Task[_Answers] | None = None
        if len(fresh) > _NOTARIES_FIRST_ABOVE and self._fetcher.has_notaries:
            notaries = asyncio.create_task(self._fetcher.through_notaries(fresh, now))
            self._notary_queries.add(notaries)
            notaries.add_done_callback(self._notary_queries.discard)
        started = [self._start(name, keys, notaries) for name, keys in fresh.items()]
        if not running and not started:
            return
        done, _ = await asyncio.wait([*running, *started])
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        # Another caller's fetch may have asked for other keys than these.
        again = {name: keys for name, keys in wanted.items() if name not in fresh and self._lacks(name, keys)}
        if again and running:
            await self._fetch(again)

    def _start(
        self, server_name: str, keys: Mapping[str, int], notaries: asyncio.Task[_Answers] | None
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self._fetch_server(server_name, keys, notaries))
        self._fetching[server_name] = task
        task.add_done_callback(lambda _: self._fetching.pop(server_name, None))
        return task

    def _paused(self, server_name: str, now: int) -> bool:
        pause = self._pauses.get(server_name)
        return pause is not None and now < pause.until

    async def _fetch_server(
        self, server_name: str, keys: Mapping[str, int], notaries: asyncio.Task[_Answers] | None
    ) -> None:
        """Ask the server itself and the notaries until the wanted keys are there; `notaries` asks them for
        many.
        """
        fetched: StoredKeys | None = None
        reasons: list[str] = []
        for source in ("direct", "notaries") if notaries is None else ("notaries", "direct"):
            if source == "direct":
                answer = await self._ask_server(server_name)
            elif notaries is not None:
                found, failed = await asyncio.shield(notaries)
                answer = found.get(server_name) or failed[server_name]
            elif self._fetcher.has_notaries:
                found, failed = await self._fetcher.through_notaries({server_name: keys}, self._clock())
                answer = found.get(server_name) or failed[server_name]
            else:
                continue
            if isinstance(answer, str):
                reasons.append(answer)
            else:
                fetched = merge(fetched, answer)
            if _satisfied(fetched, keys):
                break
        if fetched is not None:
            merged = merge(self._cache.get(server_name), fetched)
            self._remember(server_name, merged)
            self._save_soon(merged)
        self._note(server_name, keys, fetched is not None, "; ".join(reasons))

    async def _ask_server(self, server_name: str) -> StoredKeys | str:
        async with self._slots:
            try:
                return await self._fetcher.direct(server_name, self._clock())
            except (FederationError, InvalidKeys) as error:
                return error.reason

    def _save_soon(self, keys: StoredKeys) -> None:
        """Store the keys, together with those that arrive while the store is busy."""
        self._unsaved[keys.server_name] = keys
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        while self._unsaved:
            batch, self._unsaved = self._unsaved, {}
            try:
                await self._store.save(list(batch.values()))
            except Exception:  # noqa: BLE001 - whatever the store raises is logged with its trace
                # The keys are good for this process; that they are not stored costs a fetch after a restart.
                _log.exception("The keys of %d servers could not be stored", len(batch))

    def _note(self, server_name: str, keys: Mapping[str, int], answered: bool, reason: str) -> None:
        """Remember whether and when to ask again."""
        now = self._clock()
        before = self._pauses.pop(server_name, None)
        if answered:
            if not self._lacks(server_name, keys):
                return
            pause = _Pause(reason or "it answered without the wanted key", now + _PAUSE_AFTER_ANSWER, 0)
        else:
            failures = 1 if before is None else before.failures + 1
            length = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE)
            pause = _Pause(reason or "no answer", now + length, failures)
            _log.info("No keys of %s: %s (next attempt in %d s)", server_name, pause.reason, length // 1000)
        self._pauses[server_name] = pause
        if len(self._pauses) > self._capacity:
            self._pauses.popitem(last=False)


def _satisfied(keys: StoredKeys | None, wanted: Mapping[str, int]) -> bool:
    if keys is None:
        return False
    known = {key.key_id: key for key in keys.keys}
    return all(
        key_id in known and (known[key_id].is_old or known[key_id].valid_until >= valid_until)
        for key_id, valid_until in wanted.items()
    )


def _add_wanted(wanted: dict[str, dict[str, int]], events: Sequence[Event]) -> None:
    """Every key that any of the events needs, each until the latest time that one of them asks for."""
    with left_as_found(events):
        for question in map(question_of, events):
            for server, key_ids in question.key_ids.items():
                keys = wanted.setdefault(server, {})
                for key_id in key_ids:
                    keys[key_id] = max(keys.get(key_id, 0), question.valid_until)


async def _maybe_in_thread(few: bool, work: Callable[..., _Result], *args: Any) -> _Result:
    return work(*args) if few else await asyncio.to_thread(work, *args)
