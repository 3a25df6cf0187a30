"""The three people and their room: how they get there, what they say, what each of them sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from client import Client
from files import write_shell_variables
from layout import ALIAS_LOCALPART, Demo, DemoError, Server

SECONDS_TO_CROSS = 15
SECONDS_TO_CATCH_UP = 60
COMPARED = 100  # messages

# One round for each chat, a line for each person.
ROUNDS = (
    ("Is anybody out there?", "I am here, on a server of my own.", "So am I. Three servers, one room!"),
    ("Knock, knock.", "A race condition.", "Who's there?"),
    (
        "Where is this room kept?",
        "On alpha, on beta and on gamma: the same events, hashed and signed.",
        "So when one of us is away, the room stays.",
    ),
    (
        "Who is in charge here?",
        "Nobody. The rules of the room are.",
        "And each server checks them by itself.",
    ),
)


@asynccontextmanager
async def clients(demo: Demo, servers: Iterable[Server]) -> AsyncIterator[list[Client]]:
    """The clients of those who live on these servers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client(demo, server)) for server in servers]


async def set_up(demo: Demo) -> None:
    """Accounts for all and the room with all in it, as far as they are not there yet; all servers must run."""
    async with clients(demo, demo.servers.values()) as people:
        await asyncio.gather(*(person.enter() for person in people))
        demo.save()
        host, *guests = people
        if demo.room_id is None:
            demo.room_id = await host.room_of(demo.alias) or await host.create_room(
                ALIAS_LOCALPART, name="The lobby", topic="Three servers, one room"
            )
            # One after the other: who joins at the same time as another learns of that one only with the next event.
            for guest in guests:
                await guest.join(demo.alias)
            await asyncio.gather(*(_sees(person, demo.room_id, len(people)) for person in people))
            demo.save()
        write_shell_variables(demo)


async def _sees(person: Client, room_id: str, count: int) -> None:
    """Wait until a person sees so many people in the room: news of the others' joins is on its way."""
    before = time.perf_counter()
    while len(await person.members(room_id)) < count:
        if not _left(before, SECONDS_TO_CROSS):
            raise DemoError(
                f"{person.person.name} does not see everybody in the room; {person.server.log_path} may say why"
            )
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Crossing:
    """A message, and how long after it was sent each person saw it, in milliseconds; None if not in time."""

    sender: str
    server: str
    text: str
    seen: Mapping[str, float | None]


class Watcher:
    """Reads one person's /sync and remembers when it brought which message."""

    def __init__(self, client: Client, room_id: str) -> None:
        self._client = client
        self._room_id = room_id
        self._seen: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """From now on. The task ends with the event loop."""
        await self._client.new_messages(self._room_id, timeout_ms=0)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            events = await self._client.new_messages(self._room_id, timeout_ms=30_000)
            now = time.perf_counter()
            async with self._changed:
                self._seen.update({event["event_id"]: now for event in events})
                self._changed.notify_all()

    async def seen(self, event_id: str, deadline: float) -> float | None:
        """When the message came; None if it has not by the deadline. Raises what ended the watching."""
        assert self._task is not None
        waiting = asyncio.create_task(self._until(event_id))
        try:
            await asyncio.wait(
                {waiting, self._task},
                timeout=max(0, deadline - time.perf_counter()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._task.done():
                self._task.result()
        finally:
            waiting.cancel()
        return self._seen.get(event_id)

    async def _until(self, event_id: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: event_id in self._seen)


async def chat(
    demo: Demo, servers: Sequence[Server], lines: Sequence[tuple[Server, str]]
) -> AsyncIterator[Crossing]:
    """Say the lines one after the other, each as soon as all have seen the one before it."""
    room_id = _room(demo)
    async with clients(demo, servers) as people:
        watchers = {person.person.name: Watcher(person, room_id) for person in people}
        await asyncio.gather(*(watcher.start() for watcher in watchers.values()))
        senders = {person.server.name: person for person in people}
        try:
            for server, text in lines:
                sender = senders[server.name]
                before = time.perf_counter()
                event_id = await sender.say(room_id, text)
                times = await asyncio.gather(
                    *(watcher.seen(event_id, before + SECONDS_TO_CROSS) for watcher in watchers.values())
                )
                seen = {
                    name: None if moment is None else (moment - before) * 1000
                    for name, moment in zip(watchers, times, strict=True)
                }
                yield Crossing(sender.person.name, server.name, text, seen)
        finally:
            await asyncio.gather(*(watcher.stop() for watcher in watchers.values()))


@dataclass(frozen=True)
class View:
    """The newest messages of the room, oldest first, and which of them each person has."""

    messages: Sequence[Mapping[str, Any]]
    has: Mapping[str, frozenset[str]]

    def missing(self) -> dict[str, int]:
        """How many of the messages each person lacks; only those who lack any."""
        found = {
            name: sum(event["event_id"] not in ids for event in self.messages)
            for name, ids in self.has.items()
        }
        return {name: count for name, count in found.items() if count}


async def view(demo: Demo, servers: Iterable[Server]) -> View:
    """The room as those who live on these servers see it."""
    room_id = _room(demo)
    async with clients(demo, servers) as people:
        pages = await asyncio.gather(*(person.messages(room_id, COMPARED) for person in people))
    events = {event["event_id"]: event for page in pages for event in page}
    # All clocks are this machine's, so this is the order in which they were said.
    newest = sorted(events.values(), key=lambda event: event["origin_server_ts"])[-COMPARED:]
    has = {
        person.person.name: frozenset(event["event_id"] for event in page)
        for person, page in zip(people, pages, strict=True)
    }
    return View(newest, has)


async def missed(demo: Demo, away: Mapping[str, float]) -> dict[str, int]:
    """How many messages of others were sent since each of these people went away, as seconds since 1970."""
    messages = (await view(demo, demo.servers.values())).messages
    return {
        name: sum(
            event["origin_server_ts"] / 1000 > since and not event["sender"].startswith(f"@{name}:")
            for event in messages
        )
        for name, since in away.items()
    }


async def caught_up(demo: Demo) -> tuple[float, dict[str, int]]:
    """Wait until all have the same messages: the seconds, and how many each still lacks."""
    before = time.perf_counter()
    lacking: dict[str, int] = {}
    while _left(before, SECONDS_TO_CATCH_UP):
        lacking = (await view(demo, demo.servers.values())).missing()
        if not lacking:
            break
        await asyncio.sleep(0.05)
    return time.perf_counter() - before, lacking


def _left(since: float, seconds: float) -> bool:
    return time.perf_counter() - since < seconds


def _room(demo: Demo) -> str:
    if demo.room_id is None:
        raise DemoError("the first start has not come to its end. Go on with it: scripts/demo start")
    return demo.room_id
