"""Large rooms on a Synapse, made as fast as its API allows."""

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from .person import Person, kept_connections
from .synapse import Synapse

T = TypeVar("T")
AT_ONCE = 8


@dataclass(frozen=True)
class LargeRoom:
    """A public room with many members and a long history."""

    room_id: str
    creator: Person
    members: list[Person]
    """The creator is not among them."""


async def large_room(
    synapse: Synapse, *, members: int, events: int, alias: str | None = None, version: str | None = None
) -> LargeRoom:
    """A room with this many members (and the creator) and at least this many events."""
    async with kept_connections():
        return await _large_room(synapse, members, events, alias, version)


async def _large_room(
    synapse: Synapse, members: int, events: int, alias: str | None, version: str | None
) -> LargeRoom:
    creator = await synapse.register("creator")
    options = {} if alias is None else {"room_alias_name": alias}
    room_id = await creator.create_room(version=version, preset="public_chat", **options)
    # Messages first: each costs Synapse more, the more members there are.
    await _few_at_once(creator.send(room_id, f"message {number}") for number in range(events - members))
    people = await _few_at_once(synapse.register(f"member{number}") for number in range(members))
    await _few_at_once(person.join(room_id) for person in people)
    return LargeRoom(room_id, creator, people)


async def _few_at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(awaitable: Awaitable[T]) -> T:
        async with limit:
            return await awaitable

    return await asyncio.gather(*(one(awaitable) for awaitable in work))
