"""What is measured. Each function makes what it needs, measures for a bounded time, and returns figures."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from connection import Connection
from server import Server, User

from tests.support.federation_peer import FederationPeer

CLIENT = "/_matrix/client/v3"
MOST_SETTING_UP = 20.0  # seconds
WARM_UP = 20  # requests
_transactions = itertools.count()


@dataclass
class Figures:
    """How long each of the things took, in milliseconds, and how many were done in how many seconds.

    `more`: other figures, by what they are.
    """

    what: str
    milliseconds: list[float]
    seconds: float
    count: int
    processor_seconds: float = 0.0
    more: dict[str, float | str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    def percentile(self, percent: float) -> float:
        """The milliseconds that so many of a hundred took at most."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def room_path(room_id: str) -> str:
    """The path of a room, of the client API."""
    return f"{CLIENT}/rooms/{quote(room_id, safe='')}"


async def create_room(user: User, **body: object) -> str:
    """A public room; its ID."""
    body = {"preset": "public_chat", **body}
    return str((await user.connection.request("POST", f"{CLIENT}/createRoom", body))["room_id"])


async def join(user: User, room_id: str, via: str | None = None) -> None:
    """Join by room ID, through another server if need be."""
    query = f"?via={via}" if via else ""
    await user.connection.request("POST", f"{CLIENT}/join/{quote(room_id, safe='')}{query}", {})


async def send(
    user: User, room_id: str, text: str = "A message of usual length, as people write it."
) -> None:
    """Send a message."""
    body = json.dumps({"msgtype": "m.text", "body": text}).encode()
    await user.connection.raw("PUT", f"{room_path(room_id)}/send/m.room.message/{next(_transactions)}", body)


async def repeated(
    what: str, server: Server, seconds: float, *clients: Callable[[], Awaitable[object]]
) -> Figures:
    """Let each client do its thing again and again until the time is over."""
    milliseconds: list[float] = []
    for client in clients:
        for _ in range(max(1, WARM_UP // len(clients))):
            await client()
    processor = server.processor_seconds()
    start = time.perf_counter()

    async def work(client: Callable[[], Awaitable[object]]) -> None:
        while (before := time.perf_counter()) < start + seconds:
            await client()
            milliseconds.append((time.perf_counter() - before) * 1000)

    await asyncio.gather(*map(work, clients))
    taken = time.perf_counter() - start
    return Figures(what, milliseconds, taken, len(milliseconds), server.processor_seconds() - processor)


async def sending(server: Server, seconds: float) -> list[Figures]:
    """One client; 32 in one room; 32 in a room each. And what a message takes on disk."""
    users = [await server.user() for _ in range(32)]
    room = await create_room(users[0])
    rooms = [room, *[await create_room(user) for user in users[1:]]]
    for user in users[1:]:
        await join(user, room)

    before, measured = await server.size(), []
    one = await repeated("send, 1 client", server, seconds, lambda: send(users[0], room))
    measured.append(one)
    measured.append(
        await repeated(
            "send, 32 clients, one room", server, seconds, *[_sender(user, room) for user in users]
        )
    )
    measured.append(
        await repeated(
            "send, 32 clients, a room each",
            server,
            seconds,
            *[_sender(user, own) for user, own in zip(users, rooms, strict=True)],
        )
    )
    sent = sum(each.count for each in measured) + WARM_UP + 2 * 32 * max(1, WARM_UP // 32)
    measured[-1].more["bytes on disk per message"] = (await server.size() - before) / sent
    return measured


async def sending_to_many(server: Server, seconds: float, members: int = 200) -> list[Figures]:
    """A room of many users of the server: each message is held against the push rules of all of them."""
    users = [await server.user() for _ in range(members)]
    room = await create_room(users[0])
    for user in users[1:]:
        await join(user, room)
    before = await server.size()
    one = await repeated(f"send, {members} members here", server, seconds, lambda: send(users[0], room))
    one.more["bytes on disk per message"] = (await server.size() - before) / (one.count + WARM_UP)
    return [one]


def _sender(user: User, room_id: str) -> Callable[[], Awaitable[None]]:
    return lambda: send(user, room_id)


async def syncing(server: Server, seconds: float) -> list[Figures]:
    """How soon a waiting /sync brings a message; a /sync that has nothing new."""
    alice, bob = await server.user(), await server.user()
    room = await create_room(alice)
    await join(bob, room)
    since = await next_batch(bob.connection, "")

    async def wake() -> float:
        nonlocal since
        waiting = asyncio.create_task(next_batch(bob.connection, f"?since={since}&timeout=10000"))
        await asyncio.sleep(0.005)  # until it waits
        before = time.perf_counter()
        await send(alice, room)
        since = await waiting
        return (time.perf_counter() - before) * 1000

    for _ in range(WARM_UP):
        await wake()
    processor, start = server.processor_seconds(), time.perf_counter()
    milliseconds = []
    while time.perf_counter() < start + seconds:
        milliseconds.append(await wake())
    taken = time.perf_counter() - start
    woken = Figures(
        "message to a waiting /sync",
        milliseconds,
        taken,
        len(milliseconds),
        server.processor_seconds() - processor,
    )
    idle = await repeated(
        "/sync with nothing new",
        server,
        seconds / 2,
        lambda: bob.connection.raw("GET", f"{CLIENT}/sync?since={since}&timeout=0"),
    )
    return [woken, idle]


async def next_batch(connection: Connection, query: str) -> str:
    """The token of a /sync."""
    return str(json.loads(await connection.raw("GET", f"{CLIENT}/sync{query}"))["next_batch"])


async def initial_sync(server: Server, seconds: float, rooms: int = 50, members: int = 10) -> list[Figures]:
    """The first /sync of somebody in many rooms, and one after a message in one of them."""
    people = [await server.user() for _ in range(members)]
    reader = people[0]
    start = time.perf_counter()
    made: list[str] = []
    for number in range(rooms):
        room = await create_room(people[number % members], name=f"Room {number}")
        made.append(room)
        await asyncio.gather(*(join(each, room) for each in people if each is not people[number % members]))
        for _ in range(2):
            await asyncio.gather(*(send(each, room) for each in people))
        if time.perf_counter() - start > MOST_SETTING_UP:
            break
    path = f"{CLIENT}/sync?timeout=0"
    first = await repeated(
        f"initial /sync, {len(made)} rooms of {members}",
        server,
        seconds / 2,
        lambda: reader.connection.raw("GET", path),
    )
    first.more["kB of answer"] = len(await reader.connection.raw("GET", path)) / 1000
    since = await next_batch(reader.connection, "?timeout=0")

    async def one_new() -> None:
        nonlocal since
        await send(people[1], made[0])
        since = await next_batch(reader.connection, f"?since={since}&timeout=1000")

    return [first, await repeated(f"send + /sync, {len(made)} rooms", server, seconds / 2, one_new)]


async def receiving(server: Server, seconds: float) -> list[Figures]:
    """Transactions of another server: as full as they may be, and with one PDU each."""
    async with FederationPeer(server.authority) as peer:
        room = peer.room("11")
        alice = peer.user("alice")
        await join(await server.user(), room.room_id, peer.server_name)
        full = [
            [room.say(alice, f"message {number}") for number in range(50)] for _ in range(int(seconds * 15))
        ]
        figures = []
        figures.append(await _received("PDUs in, 50 a transaction", server, peer, full, seconds))
        room.heads = [full[int(figures[0].more.pop("transactions")) - 1][-1].event_id]
        single = [[room.say(alice, f"single {number}")] for number in range(int(seconds * 150))]
        figures.append(await _received("PDUs in, 1 a transaction", server, peer, single, seconds / 2))
        figures[-1].more.pop("transactions")
        return figures


async def _received(
    what: str, server: Server, peer: FederationPeer, transactions: Sequence[Sequence[object]], seconds: float
) -> Figures:
    milliseconds: list[float] = []
    count = 0
    processor, start = server.processor_seconds(), time.perf_counter()
    for events in transactions:
        before = time.perf_counter()
        if before > start + seconds:
            break
        answer = await peer.send(server.server_name, *events)  # type: ignore[arg-type]
        if any(answer.values()):
            raise RuntimeError(f"the server refused what is right: {answer}")
        count += len(events)
        milliseconds.append((time.perf_counter() - before) * 1000)
    taken = time.perf_counter() - start
    return Figures(
        what,
        milliseconds,
        taken,
        count,
        server.processor_seconds() - processor,
        {"transactions": len(milliseconds)},
    )
