"""Who is typing where. In memory alone: it concerns the present, and is not worth a write.

So a change has no position of the stream, which the database gives. It gets a number of its own, which the tokens of /sync hold
beside the position, but only those given to clients that were told of somebody who is typing. It starts from the clock, so that
after a restart the server knows a token of before, and tells its holder of everything once more: else somebody would seem to be
typing there for ever.

Spec: https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from homeserver.services.clock import Clock

ROOMS_KEPT: Final = 5_000
"""Of how many rooms it is remembered when the users who were typing last changed."""

MAX_IN_ROOM: Final = 200
"""Users who are typing in one room at the same time; more are not shown."""


@dataclass(frozen=True, slots=True)
class TypingNews:
    """What a client is to be told, as it stood at a moment. number: of the last change until then.

    now: the users who are typing, by room ID. changed: the rooms for which the client may know otherwise; None: any.
    """

    number: int
    now: Mapping[str, tuple[str, ...]]
    changed: frozenset[str] | None

    def of(self, room_id: str, *, is_new: bool) -> tuple[str, ...] | None:
        """The users to be told of for a room, which may be new to the client; None when there is nothing to tell."""
        users = self.now.get(room_id, ())
        if is_new:
            return users or None
        return users if self.changed is None or room_id in self.changed else None


@dataclass(slots=True)
class _Typist:
    timer: asyncio.TimerHandle
    on_end: Callable[[], None] | None


class TypingUsers:
    """Lives on the event loop's thread. What `news` returns may be read in any."""

    def __init__(self, on_change: Callable[[str], None], clock: Clock) -> None:
        """`on_change` is told the room ID whenever somebody begins or ends to type."""
        self._on_change = on_change
        self._clock = clock
        self._typists: dict[str, dict[str, _Typist]] = {}
        self._now: Mapping[str, tuple[str, ...]] = {}
        self._changed: OrderedDict[str, int] = OrderedDict()
        # Of changes up to this number nothing is known any more.
        self._forgotten = self._number = clock()

    def start(
        self, room_id: str, user_id: str, timeout_ms: int, on_end: Callable[[], None] | None = None
    ) -> bool:
        """The user is typing for so long; False when that was known already (or too many are), and only lasts longer now.

        `on_end` is called when it ends, for whatever reason, unless `start` was called again before.
        """
        typists = self._typists.get(room_id, {})
        known = typists.get(user_id)
        if known is None and len(typists) >= MAX_IN_ROOM:
            return False
        if known is not None:
            known.timer.cancel()
        timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.stop, room_id, user_id)
        self._typists.setdefault(room_id, {})[user_id] = _Typist(timer, on_end)
        if known is None:
            self._note(room_id)
        return known is None

    def stop(self, room_id: str, user_id: str) -> None:
        """The user is typing no more, if the user was."""
        typist = self._typists.get(room_id, {}).pop(user_id, None)
        if typist is None:
            return
        typist.timer.cancel()
        if not self._typists[room_id]:
            del self._typists[room_id]
        self._note(room_id)
        if typist.on_end is not None:
            typist.on_end()

    def is_typing(self, room_id: str, user_id: str) -> bool:
        """Whether the user is typing in the room."""
        return user_id in self._typists.get(room_id, {})

    def news(self, since: int | None) -> TypingNews:
        """What has changed since a number; None: for who believes that nobody is typing."""
        if since is None:
            changed: frozenset[str] | None = frozenset(self._now)
        elif self._forgotten <= since <= self._number:
            changed = frozenset(self._changed_since(since))
        else:
            changed = None
        return TypingNews(self._number, self._now, changed)

    def changed_since(self, number: int, room_ids: Collection[str]) -> bool:
        """Whether something has changed in one of these rooms later than at a number that `news` gave."""
        return number < self._number and not self._changed_since(number).isdisjoint(room_ids)

    def _changed_since(self, number: int) -> set[str]:
        found = set()
        for room_id, changed in reversed(self._changed.items()):
            if changed <= number:
                break
            found.add(room_id)
        return found

    def _note(self, room_id: str) -> None:
        """Count a change, and tell of it."""
        self._number = max(self._number + 1, self._clock())
        typists = tuple(self._typists.get(room_id, ()))
        others = {other: users for other, users in self._now.items() if other != room_id}
        self._now = {**others, room_id: typists} if typists else others
        self._changed[room_id] = self._number
        self._changed.move_to_end(room_id)
        if len(self._changed) > ROOMS_KEPT:
            _, self._forgotten = self._changed.popitem(last=False)
        self._on_change(room_id)
