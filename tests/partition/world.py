"""Three servers with faulty links between them, and people who do what they like meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.core.events import StateKey
from homeserver.core.stream_tokens import Place
from homeserver.services.timeline import Draft
from homeserver.storage import memberships, outbox, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, StoredEvent, get_many
from tests.support.federating_server import FederatingServer
from tests.support.invariants import violations
from tests.support.links import Link, Links

BEGINNING = Place(0, -(10**17))
FAULTS = (Link.CUT, Link.CUT, Link.CUT, Link.MUTE, Link.UNSENT, Link.HELD, Link.UP)
SETTLE_S = 30.0
ROUNDS = 5
"""How often at most the servers come back into the room."""


@dataclass(frozen=True)
class View:
    """A room as one server has it."""

    state: dict[StateKey, str]
    members: dict[str, tuple[str, str]]
    servers: list[str]
    ends: frozenset[str]
    events: dict[str, StoredEvent]

    @property
    def visible(self) -> set[str]:
        """The events that its users are shown."""
        return {
            event_id
            for event_id, stored in self.events.items()
            if stored.position is not None and stored.status is EventStatus.ACCEPTED
        }

    @property
    def redacted(self) -> set[str]:
        """Those of them that somebody has redacted."""
        return {event_id for event_id in self.visible if self.events[event_id].redacted_by}

    def redacted_by(self, event_ids: set[str]) -> set[str | None]:
        """What these events redact, if they were accepted."""
        return {self.events[event_id].event.redacts for event_id in event_ids & self.events.keys()}

    @property
    def beside(self) -> set[str]:
        """The events that are here without a place in the history."""
        return {event_id for event_id, stored in self.events.items() if stored.is_outlier}

    def with_status(self, status: EventStatus) -> set[str]:
        """The events of a status."""
        return {event_id for event_id, stored in self.events.items() if stored.status is status}


@dataclass
class World:
    """The servers, the first of which has made the room."""

    servers: Sequence[FederatingServer]
    links: Links
    chance: random.Random
    version: str
    room_id: str = ""
    joining: set[asyncio.Task[Any]] = field(default_factory=set)
    sent: int = 0
    most_ends: int = 0

    def __post_init__(self) -> None:
        self.by_name = {server.server_name: server for server in self.servers}
        self.admins = [server.user("admin") for server in self.servers]
        self.users = [server.user(name) for server in self.servers for name in ("one", "two")]

    async def begin(self, *, late: bool) -> None:
        """A room with an administrator on each server; on the last one only later if `late`."""
        admin = self.admins[0]
        self.room_id = await self.servers[0].timeline.create_room(
            self.version,
            admin,
            {},
            [
                Draft(admin, "m.room.member", {"membership": "join"}, admin),
                Draft(admin, "m.room.power_levels", self._levels(0), ""),
                Draft(admin, "m.room.join_rules", {"join_rule": "public"}, ""),
            ],
        )
        for user in self.admins[1:2] if late else self.admins[1:]:
            await self._join(user)
            await self.settled()
        if late:
            await self.servers[-1].account("admin")
            await self.servers[0].membership.invite(admin, self.room_id, self.admins[-1])
            await self.settled()

    def _levels(self, *choices: int) -> dict[str, Any]:
        admins = self.admins[1:] if self.version == "12" else self.admins
        levels = {user: self.chance.choice(choices) for user in self.users}
        return {"users": {**levels, **dict.fromkeys(admins, 100)}, "invite": 0}

    async def run(self, steps: int) -> None:
        """Cut, heal and act at random."""
        for _ in range(steps):
            if self.chance.random() < 0.25:
                self._change_links()
            await asyncio.gather(*(self._act() for _ in range(self.chance.choice((1, 1, 1, 2, 4)))))
            if self.chance.random() < 0.4 and not self.links.is_any(Link.HELD):
                await self._until(lambda origin, to: self.links.state(origin, to) is Link.UP)
            for server in self.servers:
                self.most_ends = max(self.most_ends, len(await self._ends(server)))

    def _change_links(self) -> None:
        chance, names = self.chance, list(self.by_name)
        one, fault = chance.choice(names), chance.choice(FAULTS)
        others = [name for name in names if name != one]
        match chance.choice(("directed", "pair", "alone", "heal")):
            case "directed":
                self.links.set(one, chance.choice(others), fault)
            case "pair":
                other = chance.choice(others)
                self.links.set(one, other, fault)
                self.links.set(other, one, fault)
            case "alone":
                for other in others:
                    self.links.set(one, other, fault)
                    self.links.set(other, one, fault)
            case "heal":
                self.links.heal()

    async def _act(self) -> None:
        """What somebody may want to do."""
        chance = self.chance
        target, admin = chance.choice(self.users), chance.choice(self.admins)
        anyone = chance.choice([*self.users, *self.admins])
        membership = chance.choice(["leave", "ban", "ban", "invite"])
        match chance.choice(
            ["join"] * 4
            + ["say"] * 4
            + ["topic", "name", "leave", "leave", "member", "admin", "levels", "rules", "redact"]
        ):
            case "join":
                self._begin_join(chance.choice([target, *self.admins[1:]]))
            case "say":
                await self.send(anyone, "m.room.message", {"body": str(chance.random())})
            case "topic":
                await self.send(anyone, "m.room.topic", {"topic": str(chance.random())}, "")
            case "name":
                await self.send(anyone, "m.room.name", {"name": chance.choice("xyz")}, "")
            case "leave":
                user = chance.choice([target, *self.admins[1:]])
                await self.send(user, "m.room.member", {"membership": "leave"}, user)
            case "member":
                await self.send(anyone, "m.room.member", {"membership": membership}, target)
            case "admin":
                await self.send(admin, "m.room.member", {"membership": membership}, target)
            case "levels":
                await self.send(admin, "m.room.power_levels", self._levels(0, 50), "")
            case "rules":
                rule = chance.choice(["public", "public", "invite"])
                await self.send(admin, "m.room.join_rules", {"join_rule": rule}, "")
            case "redact":
                await self._redact(anyone)

    async def _redact(self, sender: str) -> None:
        events = await self._events(self._server_of(sender))
        said = [each for each, stored in events.items() if stored.event.type == "m.room.message"]
        if not said:
            return
        target = self.chance.choice(said)
        content = {"redacts": target} if self.version in ("11", "12") else {}
        redacts = None if content else target
        await self.send(sender, "m.room.redaction", content, redacts=redacts)

    def _server_of(self, user: str) -> FederatingServer:
        return self.by_name[user.partition(":")[2]]

    async def send(
        self,
        sender: str,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = None,
        redacts: str | None = None,
    ) -> bool:
        """The user's server sends an event, if it may; whether it did."""
        draft = Draft(sender, event_type, content, state_key, redacts)
        try:
            await self._server_of(sender).timeline.send(self.room_id, draft)
        except MatrixError as error:
            assert error.errcode == "M_FORBIDDEN", error
            return False
        self.sent += 1
        return True

    def _begin_join(self, user: str) -> None:
        """A join may have to wait for a link; what else happens goes on."""
        task = asyncio.create_task(self._try_to_join(user))
        self.joining.add(task)
        task.add_done_callback(self.joining.discard)

    async def _try_to_join(self, user: str) -> None:
        try:
            await self._join(user)
        except MatrixError as error:
            # The room does not let the user in, or no server can be reached.
            assert error.errcode in ("M_FORBIDDEN", "M_UNKNOWN", "M_NOT_FOUND"), error

    async def _join(self, user: str) -> None:
        others = [name for name in self.by_name if not user.endswith(name)]
        await self._server_of(user).membership.join(user, self.room_id, others)

    async def end(self) -> None:
        """Heal all links, and let everyone get everything; the last server is in the room then."""
        self.links.heal()
        await asyncio.gather(*self.joining)
        await self.settled()
        await self._all_speak()
        for _ in range(ROUNDS):
            await self._all_back()
            await self._all_speak()
            if await self._is_everywhere():
                break
        else:
            raise AssertionError("a server does not come back into the room")
        for server in self.servers:
            while await server.backfill.fill_gap(self.room_id, BEGINNING, 500):
                pass

    async def _is_everywhere(self) -> bool:
        """Whether each server is in the room, by the word of all.

        When somebody joins forks, the resolution can put a server out that has just come back: by version 2 of the algorithm a join
        rule of long ago that only one fork's auth chains have is applied over the one that all have. Version 2.1 mended that.
        """
        return all(
            [
                {self._server_of(user) for user in await whose.members(self.room_id)} == set(self.servers)
                for whose in self.servers
            ]
        )

    async def _all_speak(self) -> None:
        """All who are in the room by every server's word say something.

        An event that one server has soft-failed is an end of the graph of another's, until somebody builds on it whose events are
        taken; and what was refused while links were cut is fetched then.
        """
        for user in (*self.admins, *self.users):
            if all([user in await server.members(self.room_id) for server in self.servers]):
                assert await self.send(user, "m.room.message", {"body": "the end"}), user
                await self.settled()

    async def _all_back(self) -> None:
        """Every server is in the room again.

        By then servers may differ over users: a join or a leave that does not hold by what the user's server could not know is
        soft-failed by the others, and so is all that the user sends after it; nobody builds on that fork. So the protocol has it;
        the users have to leave and to come back.
        """
        first, *others = self.servers
        for server, admin in zip(others, self.admins[1:], strict=True):
            here, there = await self._users_of(server, server), await self._users_of(first, server)
            for user in sorted(set(here) - set(there)):
                assert await self.send(user, "m.room.member", {"membership": "leave"}, user)
            for user in sorted(set(there) - set(here)):
                assert await self.send(self.admins[0], "m.room.join_rules", {"join_rule": "public"}, "")
                await self.settled()  # the user's server may be in the room, and is the one to decide then
                await self._join(user)
            await self.settled()
            # With a third server out of the room nobody has spoken yet (`_all_speak`), and so nobody has joined their forks.
            here, there = await self._users_of(server, server), await self._users_of(first, server)
            for user in sorted(set(here) & set(there)):
                assert await self.send(user, "m.room.message", {"body": "still here"}), user
                await self.settled()
            if admin in await server.members(self.room_id):
                continue
            assert await self.send(self.admins[0], "m.room.join_rules", {"join_rule": "public"}, "")
            await self.settled()
            await self._server_of(admin).membership.join(admin, self.room_id, [first.server_name])
            await self.settled()

    async def _users_of(self, whose: FederatingServer, server: FederatingServer) -> list[str]:
        """Which users of a server are in the room by another's word."""
        return [user for user in await whose.members(self.room_id) if self._server_of(user) is server]

    async def settled(self) -> None:
        """Wait until nothing is on its way."""
        await self._until(lambda *_: True)

    async def _until(self, matters: Any) -> None:
        """Wait until all is sent that is to be sent by links that matter, and taken."""

        async def busy() -> list[str]:
            found = [
                f"{server.server_name} is busy"
                for server in self.servers
                if server.incoming.running or server.merging.running
            ]
            for server in self.servers:
                waiting = await server.database.read(outbox.waiting)
                found += [
                    f"{server.server_name} to {to}" for to in waiting if matters(server.server_name, to)
                ]
            return found

        found: list[str] = []
        try:
            async with asyncio.timeout(SETTLE_S):
                while found := await busy() or await busy():  # noqa: ASYNC110 -- nobody tells of it
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"does not come to rest: {found}") from None

    async def _ends(self, server: FederatingServer) -> list[str]:
        async def work(tx: Transaction) -> list[str]:
            room = await rooms.get(tx, self.room_id)
            return await rooms.forward_extremities(tx, room.room_nid) if room else []

        return await server.database.read(work)

    async def _events(self, server: FederatingServer) -> dict[str, StoredEvent]:
        async def work(tx: Transaction) -> dict[str, StoredEvent]:
            rows = await tx.fetch("SELECT event_id FROM events ORDER BY event_nid")
            return await get_many(tx, [row[0] for row in rows])

        return await server.database.read(work)

    async def view(self, server: FederatingServer) -> View:
        """What a server has of the room."""

        async def work(tx: Transaction) -> tuple[Any, ...]:
            room = await rooms.get(tx, self.room_id)
            assert room is not None
            every = ("join", "invite", "knock", "leave", "ban")
            members = await memberships.of_room(tx, room.room_nid, every)
            return (
                await server.states.all_ids(tx, room.current_state),
                {each.user_id: (each.membership, each.event_id) for each in members},
                sorted(await memberships.joined_servers(tx, room.room_nid)),
                frozenset(await rooms.forward_extremities(tx, room.room_nid)),
            )

        return View(*await server.database.read(work), await self._events(server))

    async def disagreements(self) -> list[str]:
        """In what the servers differ, and what is wrong on any of them."""
        found = [
            f"{server.server_name}: {wrong}"
            for server in self.servers
            for wrong in await violations(server.database)
        ]
        views = {server.server_name: await self.view(server) for server in self.servers}
        refused = set().union(*(view.with_status(EventStatus.SOFT_FAILED) for view in views.values()))
        spared = set().union(*(view.redacted_by(refused) for view in views.values()))
        first, *others = views
        for other in others:
            mine, theirs = views[first], views[other]
            for what, one, two in (
                ("state", set(mine.state.items()), set(theirs.state.items())),
                ("members", set(mine.members.items()), set(theirs.members.items())),
                ("servers", set(mine.servers), set(theirs.servers)),
                ("forward extremities", set(mine.ends), set(theirs.ends)),
                # A soft failure is one server's own: what it does not show others may.
                ("visible events", mine.visible - refused, theirs.visible - refused),
                ("redacted events", mine.redacted - refused - spared, theirs.redacted - refused - spared),
            ):
                if one != two:
                    found.append(
                        f"{what}: only {first}: {_some(one - two)}; only {other}: {_some(two - one)}"
                    )
                    ids = (one ^ two) & (mine.events.keys() | theirs.events.keys())
                    found += [
                        f"  {name}: {_told(view, each)}"
                        for name, view in views.items()
                        for each in sorted(ids)[:4]
                    ]
        for name, view in views.items():
            if len(view.ends) > 1:
                found.append(f"{name} has {len(view.ends)} forward extremities")
        return found


def _some(found: set[Any]) -> str:
    return f"{len(found)}, {sorted(found)[:4]}"


def _told(view: View, event_id: str) -> str:
    stored = view.events.get(event_id)
    if stored is None:
        return f"{event_id} is not there"
    event = stored.event
    return f"{event_id} {event.type} by {event.sender} is {stored.status.name} ({stored.reason}) at {stored.position}"
