"""Servers that get the same events in different orders end with the same room."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.events import Event
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import GraphWriter
from homeserver.services.timeline import Draft
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, StoredEvent, get_many
from tests.support.rooms import RoomServices, open_sqlite

SERVERS = ("a.test", "b.test", "c.test")
ADMINS = [f"@admin:{server}" for server in SERVERS]
USERS = [f"@{name}:{server}" for server in SERVERS for name in ("one", "two")]
STEPS = 60
SEEDS = (1, 2)


@dataclass
class Server:
    """One server, with the events that it has not been given yet."""

    services: RoomServices
    has: set[str] = field(default_factory=set)
    waiting: list[Event] = field(default_factory=list)

    async def take(self, room_id: str, events: list[Event]) -> None:
        """Add events to the graph in one unit of work."""

        async def work(tx: Transaction) -> tuple[None, Committed]:
            services = self.services
            room = await rooms.get(tx, room_id)
            parts = (tx, services.states, services.server_name)
            if room is None:
                writer = await GraphWriter.create(*parts, room_id, events[0].rules.version)
            else:
                writer = await GraphWriter.open(*parts, room)
            for event in events:
                await writer.add(event)
            return None, await writer.close()

        await self.services.writes.run(room_id, work)
        self.has.update(event.event_id for event in events)

    async def stored(self) -> dict[str, StoredEvent]:
        """All that it has."""
        return await self.services.database.read(lambda tx: get_many(tx, self.has))

    async def ends(self, room_id: str) -> tuple[Any, ...]:
        """The current state, the members, the servers with the number of joined users, the forward extremities."""

        async def work(tx: Transaction) -> tuple[Any, ...]:
            room = await rooms.get(tx, room_id)
            assert room is not None
            nid = room.room_nid
            every = ("join", "invite", "knock", "leave", "ban")
            members = await memberships.of_room(tx, nid, every)
            return (
                await self.services.states.all_ids(tx, room.current_state),
                room.current_state,
                {each.user_id: (each.membership, each.event_id) for each in members},
                await memberships.joined_servers(tx, nid),
                await memberships.joined_counts(tx, [nid]) == {nid: _joined(members)},
                await rooms.forward_extremities(tx, nid),
            )

        return await self.services.database.read(work)


def _joined(members: list[memberships.Membership]) -> int:
    return sum(each.membership == "join" for each in members)


@dataclass
class World:
    """Servers that tell each other of their events some time later, in any order that respects the graph."""

    servers: dict[str, Server]
    chance: random.Random
    room_id: str = ""
    events: list[Event] = field(default_factory=list)

    async def begin(self, version: str) -> None:
        """A room with an administrator on each server."""
        first = self.servers[SERVERS[0]].services
        users = {admin: 100 for admin in ADMINS[1:] if version == "12"} or dict.fromkeys(ADMINS, 100)
        self.room_id = await first.timeline.create_room(
            version,
            ADMINS[0],
            {},
            [
                Draft(ADMINS[0], "m.room.member", {"membership": "join"}, ADMINS[0]),
                Draft(ADMINS[0], "m.room.power_levels", {"users": users}, ""),
                Draft(ADMINS[0], "m.room.join_rules", {"join_rule": "public"}, ""),
            ],
        )
        room_id = self.room_id
        made = await first.database.read(lambda tx: _all_of(tx, room_id))
        for event in made:
            self._made(SERVERS[0], event)
        await self.deliver_all()
        for user in ADMINS[1:]:
            assert await self.send(Draft(user, "m.room.member", {"membership": "join"}, user))
            await self.deliver_all()

    def _made(self, name: str, event: Event) -> None:
        self.events.append(event)
        for other, server in self.servers.items():
            if other == name:
                server.has.add(event.event_id)
            else:
                server.waiting.append(event)

    async def send(self, draft: Draft) -> bool:
        """The user's server sends an event, if it may; whether it did."""
        name = draft.sender.partition(":")[2]
        server = self.servers[name]
        server.services.clock.now += self.chance.randrange(1000)
        try:
            event_id = await server.services.timeline.send(self.room_id, draft)
        except MatrixError as error:
            assert error.errcode == "M_FORBIDDEN"
            return False
        if event_id not in server.has:
            found = await server.services.database.read(lambda tx: get_many(tx, [event_id]))
            self._made(name, found[event_id].event)
        return True

    def draft(self) -> Draft:
        """What somebody may want to do."""
        chance = self.chance
        target, admin = chance.choice(USERS), chance.choice(ADMINS)
        anyone = chance.choice([*USERS, *ADMINS])
        membership = chance.choice(["leave", "ban", "ban", "invite"])
        levels = {user: chance.choice([0, 50]) for user in USERS}
        levels.update(dict.fromkeys(ADMINS, 100))
        for creator in ADMINS[:1]:
            if self.events[0].rules.privileged_creators:
                del levels[creator]
        return chance.choice(
            [
                Draft(anyone, "m.room.message", {"body": str(chance.random())}),
                Draft(anyone, "m.room.topic", {"topic": str(chance.random())}, ""),
                Draft(anyone, "m.room.name", {"name": chance.choice("xyz")}, ""),
                Draft(target, "m.room.member", {"membership": "join"}, target),
                Draft(target, "m.room.member", {"membership": "join"}, target),
                Draft(target, "m.room.member", {"membership": "leave"}, target),
                Draft(anyone, "m.room.member", {"membership": membership}, target),
                Draft(admin, "m.room.member", {"membership": membership}, target),
                Draft(admin, "m.room.power_levels", {"users": levels}, ""),
                Draft(
                    admin,
                    "m.room.join_rules",
                    {"join_rule": chance.choice(["public", "public", "invite"])},
                    "",
                ),
            ]
        )

    async def deliver(self, server: Server, most: int) -> None:
        """Give a server some of what it has not, in any order in which each event comes after those before it."""
        batch: list[Event] = []
        has = set(server.has)
        self.chance.shuffle(server.waiting)
        while len(batch) < most:
            ready = [event for event in server.waiting if has.issuperset(event.prev_event_ids)]
            if not ready:
                break
            event = self.chance.choice(ready)
            server.waiting.remove(event)
            has.add(event.event_id)
            batch.append(event)
        if batch:
            await server.take(self.room_id, batch)

    async def deliver_all(self) -> None:
        """Until everyone has everything."""
        for server in self.servers.values():
            while server.waiting:
                await self.deliver(server, self.chance.randrange(1, 12))


async def _all_of(tx: Transaction, room_id: str) -> list[Event]:
    rows = await tx.fetch("SELECT event_id FROM events ORDER BY position")
    found = await get_many(tx, [row[0] for row in rows])
    return [found[row[0]].event for row in rows]


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[dict[str, Server]]:
    made = {}
    for name in SERVERS:
        made[name] = Server(RoomServices(await open_sqlite(tmp_path / f"{name}.db"), name))
    yield made
    for server in made.values():
        await server.services.database.close()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", ["2", "6", "10", "11", "12"])
async def test_servers_agree_whatever_the_order(
    servers: dict[str, Server], tmp_path: Path, version: str, seed: int
) -> None:
    print(f"seed {seed} of version {version}")
    world = World(servers, random.Random(f"{version} {seed}"))
    await world.begin(version)
    for _ in range(STEPS):
        await world.send(world.draft())
        if world.chance.random() < 0.4:
            server = world.chance.choice(list(servers.values()))
            await world.deliver(server, world.chance.randrange(1, 6))
    await world.deliver_all()
    forks = sum(len(event.prev_event_ids) > 1 for event in world.events)
    assert forks > 2, "there is nothing to resolve"
    # What one has soft-failed another may build on: everyone sends once more, and all know all ends.
    for admin in ADMINS:
        assert await world.send(Draft(admin, "m.room.message", {"body": "the end"}))
        await world.deliver_all()
    # A server that comes last and gets it all at once.
    late = Server(RoomServices(await open_sqlite(tmp_path / "late.db"), "late.test"))
    late.waiting = list(world.events)
    await late.take(world.room_id, world.events[:1])
    late.waiting.remove(world.events[0])
    while late.waiting:
        await world.deliver(late, 1_000)
    try:
        ends = [await server.ends(world.room_id) for server in servers.values()]
        assert ends[0] == ends[1] == ends[2]
        states = [await server.stored() for server in (*servers.values(), late)]
        *_, late_ends = await late.ends(world.room_id)
    finally:
        await late.services.database.close()
    # What all others have soft-failed may have come in time to the last.
    for event_id in set(late_ends) - {world.events[-1].event_id}:
        assert all(stored[event_id].status is EventStatus.SOFT_FAILED for stored in states[:-1])
    for event in world.events:
        places = {
            (each.state_before, each.state_after, each.status is EventStatus.REJECTED)
            for each in (stored[event.event_id] for stored in states)
        }
        assert len(places) == 1, f"the servers differ on {event}"
