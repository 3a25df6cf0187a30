"""Wakes those who wait for something new, as soon as it is committed."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from homeserver.core.state_map import Digest
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room

TOPICS_KEPT = 20_000
"""Of how many rooms and users it is remembered when they last changed."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Events that have just come into a room, those that clients are shown, as they came.

    before, state: the room's current state before and after them. room: None for an invite to a room that we are not in.
    newcomers: who has come to be joined to the room.
    """

    room: Room | None
    before: Digest
    state: Digest
    events: tuple[StoredEvent, ...]
    newcomers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Committed:
    """What a unit of work has stored, as far as others wait for it.

    position: where the stream stands now. rooms: room IDs with something new. users: our users for whom something is new
    besides (a membership of theirs). destinations: servers for which there is something in the outbox. arrivals: the events that
    came, one for each room. notified, read: our users who have more unread notifications, and those who have fewer. actors: our
    users who did something besides sending events. many_ends: room IDs whose graph has ends that should be joined.
    """

    position: int
    rooms: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    destinations: frozenset[str] = frozenset()
    arrivals: tuple[Arrival, ...] = ()
    notified: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()
    many_ends: frozenset[str] = frozenset()

    @property
    def newcomers(self) -> frozenset[str]:
        """Who has come to be joined to one of the rooms."""
        return frozenset().union(*(arrival.newcomers for arrival in self.arrivals))

    @property
    def brings_events(self) -> bool:
        """Whether there are events that clients are shown, and not only receipts, presence and the like."""
        return any(arrival.events for arrival in self.arrivals)

    @property
    def moves_state(self) -> bool:
        """Whether the state of one of the rooms is another now: it may be, with events or by them."""
        return any(arrival.before != arrival.state for arrival in self.arrivals)

    def together_with(self, other: "Committed") -> "Committed":
        """What two parts of one unit of work have stored."""
        return Committed(
            max(self.position, other.position),
            self.rooms | other.rooms,
            self.users | other.users,
            self.destinations | other.destinations,
            self.arrivals + other.arrivals,
            self.notified | other.notified,
            self.read | other.read,
            self.actors | other.actors,
            self.many_ends | other.many_ends,
        )


@dataclass(slots=True)
class _Topic:
    """A room or a user: when it last changed, and who waits for its next change."""

    changed: int = 0
    waiters: set["asyncio.Future[None]"] = field(default_factory=set)

    def wake(self) -> None:
        """Let all who wait look again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class Notifier:
    """Knows the newest settled position, and wakes the readers of the rooms and users that changed.

    It lives on the event loop's thread and keeps nothing on disk: a reader first reads the database, and waits only when there
    was nothing for it.
    """

    def __init__(self, position: int) -> None:
        """`position`: where the stream stands at start-up."""
        self._position = position
        self._topics: dict[str, _Topic] = {}
        # Topics that are not kept have not changed later than this.
        self._forgotten = position

    @property
    def position(self) -> int:
        """The newest position of which we were told that it is committed."""
        return self._position

    def __len__(self) -> int:
        """How many topics are in memory: those that changed last, and those that somebody waits for."""
        return len(self._topics)

    def committed(self, news: Committed) -> None:
        """Tell of a commit; all who wait for one of its rooms or users wake."""
        self._position = max(self._position, news.position)
        for name in (*news.rooms, *news.users):
            topic = self._topics.setdefault(name, _Topic())
            topic.changed = max(topic.changed, news.position)
            topic.wake()
        if len(self._topics) > TOPICS_KEPT:
            self._forget()

    def stir(self, name: str) -> None:
        """Wake all who wait for a room or user because of something that has no position in the stream: they look for it before
        they wait."""
        topic = self._topics.get(name)
        if topic is not None:
            topic.wake()

    def changed_since(self, topics: Collection[str], after: int) -> bool:
        """Whether one of these rooms or users may have changed later than position `after`, as far as this process can tell.

        It says yes of what it has forgotten: a reader who has read up to the present is never told so in vain.
        """
        if after < self._forgotten:
            return True
        return any(topic.changed > after for name in topics if (topic := self._topics.get(name)))

    async def wait(self, topics: Collection[str], *, after: int, timeout_ms: int) -> bool:
        """Wait until one of the topics (room and user IDs) is newer than `after`, or stirs; False at the time-out."""
        if self.changed_since(topics, after):
            return True
        if timeout_ms <= 0:
            return False
        waiter = asyncio.get_running_loop().create_future()
        names = set(topics)
        for name in names:
            self._topics.setdefault(name, _Topic()).waiters.add(waiter)
        try:
            woken, _ = await asyncio.wait({waiter}, timeout=timeout_ms / 1000)
        finally:
            for name in names:
                topic = self._topics[name]
                topic.waiters.discard(waiter)
                if not topic.waiters and topic.changed <= self._forgotten:
                    del self._topics[name]
        return bool(woken)

    def _forget(self) -> None:
        """Forget the half of the topics that changed longest ago, but for those that somebody waits for."""
        idle = sorted((topic.changed, name) for name, topic in self._topics.items() if not topic.waiters)
        for changed, name in idle[: TOPICS_KEPT // 2]:
            self._forgotten = max(self._forgotten, changed)
            del self._topics[name]
