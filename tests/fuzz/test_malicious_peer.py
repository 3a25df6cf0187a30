"""A server that says and answers everything wrongly, in a room that an honest server shares: each is refused with its reason,
nobody takes notice, and the room stays usable. tests/fuzz/test_malicious_peer_index.py says what else is tested, and where.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.events import Event
from homeserver.federation.errors import FederationError
from homeserver.federation.transport import matrix_path
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, until
from tests.support.whole import V3, WholeServer, complaints, history, say

FAR = "$" + "x" * 43
MOST_QUESTIONS = 200
"""How often we ask a server that answers nonsense, for one event of its."""


@dataclass
class World:
    """alice of ours, @alice of the honest server, and @mallory are in one room."""

    ours: WholeServer
    alice: Client
    honest: FederationPeer
    malicious: FederationPeer
    room: PeerRoom
    hers: PeerRoom
    """What the malicious server has of the room."""

    @property
    def mallory(self) -> str:
        """The user of the malicious server."""
        return self.malicious.user("mallory")

    def make(
        self, event_type: str, content: Mapping[str, Any], state_key: str | None = None, **options: Any
    ) -> Event:
        """An event of mallory's that follows what there is."""
        self.follow()
        return self.hers.make(event_type, options.pop("sender", self.mallory), content, state_key, **options)

    def follow(self) -> None:
        """The malicious server hears of everything."""
        self.hers.events.update(self.room.events)
        self.hers.state_before.update(self.room.state_before)
        self.hers.heads = list(self.room.heads)

    def after(self, event: Event, text: str = "after") -> Event:
        """A message of mallory's after an event that only her server knows, with the auth events of the room."""
        message = self.make("m.room.message", {"body": text})
        self.hers.events[event.event_id] = event
        self.hers.state_before[event.event_id] = dict(self.room.state)
        return self.hers.make(
            "m.room.message",
            self.mallory,
            {"body": text},
            after=[event.event_id],
            auth_events=message.auth_event_ids,
        )

    async def state(self) -> dict[tuple[str, str], Any]:
        """The room's state as alice sees it."""
        events = (await self.alice.get(f"{V3}/rooms/{quote(self.room.room_id)}/state")).ok()
        return {(event["type"], event["state_key"]): event["content"] for event in events}

    async def is_usable(self) -> None:
        """The honest server is heard, and hears us."""
        said = self.room.say(self.honest.user("alice"), "still here")
        assert await self.honest.send(self.ours.server_name, said) == {said.event_id: None}
        shown = await history(self.alice, self.room.room_id)
        assert shown[0]["event_id"] == said.event_id
        mine = await say(self.alice, self.room.room_id, "so am I")
        await until(lambda: mine in self.room.events)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The three servers."""
    authority = Authority(tmp_path)
    async with FederationPeer(authority, 1) as honest, FederationPeer(authority, 2) as malicious:
        with complaints() as logged:
            names = (honest.server_name, malicious.server_name)
            async with WholeServer(authority, tmp_path, names) as ours:
                alice = await ours.register("alice")
                room = honest.room("10")
                (await alice.post(f"{V3}/join/{quote(room.room_id)}?via={honest.server_name}")).ok()
                mallory = malicious.user("mallory")
                keys = {"server_name": malicious.server_name, "signing_key": malicious.signing_key}
                joined = room.add("m.room.member", mallory, {"membership": "join"}, mallory, **keys)
                assert await honest.send(ours.server_name, joined) == {joined.event_id: None}
                hers = PeerRoom(malicious, "10", room.room_id)
                malicious.rooms[room.room_id] = hers
                yield World(ours, alice, honest, malicious, room, hers)
                assert await ours.violations() == []
        assert logged == []


Wrong = Callable[[World], Event]

EVENTS: dict[str, tuple[Wrong, str]] = {
    "a topic without power": (lambda w: w.make("m.room.topic", {"topic": "mine"}, ""), "Rejected"),
    "power for herself": (
        lambda w: w.make("m.room.power_levels", {"users": {w.mallory: 100}}, ""),
        "Rejected",
    ),
    "another create event": (lambda w: w.make("m.room.create", {"creator": w.mallory}, ""), "created by"),
    "open doors": (lambda w: w.make("m.room.join_rules", {"join_rule": "public", "x": 1}, ""), "Rejected"),
    "a join of somebody else": (
        lambda w: w.make("m.room.member", {"membership": "join"}, w.honest.user("somebody")),
        "Rejected",
    ),
    "a kick without power": (
        lambda w: w.make("m.room.member", {"membership": "leave"}, w.ours.user_id("alice")),
        "Rejected",
    ),
    "a ban without power": (
        lambda w: w.make("m.room.member", {"membership": "ban"}, w.honest.user("alice")),
        "Rejected",
    ),
    "a membership that there is not": (
        lambda w: w.make("m.room.member", {"membership": "king"}, w.mallory),
        "Rejected",
    ),
    "in the name of an honest user": (
        lambda w: w.make("m.room.message", {"body": "x"}, sender=w.honest.user("alice")),
        "no signature of",
    ),
    "in the name of ours": (
        lambda w: w.make("m.room.message", {"body": "x"}, sender=w.ours.user_id("alice")),
        "no signature of",
    ),
    "of one who is not in the room": (
        lambda w: w.make("m.room.message", {"body": "x"}, sender=w.malicious.user("nobody")),
        "Rejected",
    ),
    "state in the name of another": (
        lambda w: w.make("org.example", {"mine": 1}, w.honest.user("alice")),
        "Rejected",
    ),
    "authorised by events of another room": (lambda w: with_foreign_auth_events(w), "Not accepted|Rejected"),
    "after what nobody has": (lambda w: unknown_past(w, "nothing"), "Not accepted"),
    "after events of another room": (lambda w: unknown_past(w, "foreign"), "Not accepted"),
    "after what is no event": (lambda w: unknown_past(w, "nonsense"), "Not accepted"),
    "after a past without end": (lambda w: unknown_past(w, "endless"), "Not accepted"),
    "after a state without end": (lambda w: unknown_past(w, "endless state"), "Not accepted"),
    "after a state of another room": (lambda w: unknown_past(w, "foreign state"), "Not accepted"),
}


def foreign(world: World) -> PeerRoom:
    """Another room, of the malicious server."""
    return world.malicious.room("10")


def with_foreign_auth_events(world: World) -> Event:
    """An event whose auth events are those of a room in which she may do anything."""
    room = foreign(world)
    room.add("m.room.power_levels", world.malicious.user("alice"), {"users": {world.mallory: 100}}, "")
    world.hers.events.update(room.events)
    names = [room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    member = world.room.state["m.room.member", world.mallory]
    return world.make("m.room.topic", {"topic": "mine"}, "", auth_events=[*names, member])


def unknown_past(world: World, kind: str) -> Event:
    """A message after an event that cannot be had; what the malicious server answers when it is asked for the past."""
    other = foreign(world)
    count = 0

    def made(after: str) -> Event:
        nonlocal count
        count += 1
        template = world.make("m.room.message", {"body": f"past {count}"})
        return (
            Event(template.rules, FAR, template.canonical)
            if not after
            else world.after(template, f"past {count}")
        )

    def earlier(asked: Asked) -> Any:
        events: list[Any] = []
        match kind:
            case "foreign":
                events = [event.pdu for event in other.events.values()]
            case "nonsense":
                events = [None, 1, "x", [], {}, {"type": 1}, {"event_id": FAR}]
            case "endless":
                events = [made("more").pdu for _ in range(5)]
        return {"events": events}

    def state_ids(asked: Asked) -> Any:
        match kind:
            case "endless state":
                ids = [f"$x{number:042}" for number in range(20_000)]
                return {"pdu_ids": ids, "auth_chain_ids": ids}
            case "foreign state" | "foreign":
                ids = list(other.state.values())
                return {"pdu_ids": ids, "auth_chain_ids": other.auth_chain(ids)}
            case "nonsense":
                return {"pdu_ids": [1, None, {}], "auth_chain_ids": "x"}
        return {"pdu_ids": [], "auth_chain_ids": []}

    world.malicious.answers |= {"get_missing_events": earlier, "state_ids": state_ids, "state": state_ids}
    lost = world.make("m.room.message", {"body": "nobody has this"})
    return world.after(lost)


async def test_every_wrong_event_is_refused_and_the_room_stays_usable(world: World) -> None:
    await world.is_usable()
    before = await world.state()
    for name, (make, reason) in EVENTS.items():
        world.malicious.asked.clear()
        world.malicious.answers.clear()
        event = make(world)
        answers = await world.malicious.send(world.ours.server_name, event)
        told = answers[event.event_id]
        assert told is not None and any(each in told for each in reason.split("|")), (name, told)
        questions = [asked for asked in world.malicious.asked if asked.endpoint != "keys"]
        assert len(questions) <= MOST_QUESTIONS, (name, len(questions))
        # Not by coming again either, nor by what builds on it.
        assert (await world.malicious.send(world.ours.server_name, event))[event.event_id] is not None, name
        shown = {each["event_id"] for each in await history(world.alice, world.room.room_id)}
        assert event.event_id not in shown, name
        assert await world.state() == before, name
        await world.is_usable()


async def test_what_builds_on_a_rejected_event(world: World) -> None:
    """It may be right in itself, and the state is not that of the rejected event."""
    before = await world.state()
    taken = world.make("m.room.power_levels", {"users": {world.mallory: 100}}, "")
    answers = await world.malicious.send(world.ours.server_name, taken)
    assert "Rejected" in (answers[taken.event_id] or "")
    world.hers.put(taken)
    said = world.hers.make(
        "m.room.message", world.mallory, {"body": "said"}, auth_events=world.make("x", {}).auth_event_ids
    )
    claims = world.hers.make("m.room.topic", world.mallory, {"topic": "mine"}, "", after=[taken.event_id])
    answers = await world.malicious.send(world.ours.server_name, said, claims)
    assert "Rejected" in (answers[claims.event_id] or "")
    assert await world.state() == before
    await world.is_usable()


Question = Callable[[World], Awaitable[Any]]


def asking(method: str, *path: str, **options: Any) -> Question:
    """A request of the malicious server. `ROOM`, `MALLORY`, `ALICE` and `EVENT` stand for the room's."""

    async def ask(world: World) -> Any:
        names = {
            "ROOM": world.room.room_id,
            "MALLORY": world.mallory,
            "ALICE": world.honest.user("alice"),
            "EVENT": world.room.heads[0],
        }
        target = matrix_path("_matrix", "federation", *(names.get(part, part) for part in path))
        sent = dict(options)
        if "query" in sent:
            sent["query"] = {key: names.get(value, value) for key, value in sent["query"].items()}
        return await world.malicious.client.request(world.ours.server_name, method, target, **sent)

    return ask


QUESTIONS_OF_BANNED: dict[str, Question] = {
    "event": asking("GET", "v1", "event", "EVENT"),
    "state": asking("GET", "v1", "state", "ROOM", query={"event_id": "EVENT"}),
    "state_ids": asking("GET", "v1", "state_ids", "ROOM", query={"event_id": "EVENT"}),
    "backfill": asking("GET", "v1", "backfill", "ROOM", query={"v": "EVENT", "limit": "10"}),
    "event_auth": asking("GET", "v1", "event_auth", "ROOM", "EVENT"),
    "make_join": asking("GET", "v1", "make_join", "ROOM", "MALLORY", query={"ver": "10"}),
    "make_join for another": asking("GET", "v1", "make_join", "ROOM", "ALICE", query={"ver": "10"}),
    "make_leave for another": asking("GET", "v1", "make_leave", "ROOM", "ALICE"),
    "make_knock for another": asking("GET", "v1", "make_knock", "ROOM", "ALICE", query={"ver": "10"}),
    "get_missing_events": asking(
        "POST", "v1", "get_missing_events", "ROOM", body={"earliest_events": [], "latest_events": [FAR]}
    ),
    "timestamp_to_event": asking("GET", "v1", "timestamp_to_event", "ROOM", query={"ts": "0", "dir": "f"}),
}


async def test_who_was_banned_is_neither_heard_nor_told_anything(world: World) -> None:
    earlier = world.make("m.room.message", {"body": "made before the ban"})
    banned = world.room.add("m.room.member", world.honest.user("alice"), {"membership": "ban"}, world.mallory)
    assert await world.honest.send(world.ours.server_name, banned) == {banned.event_id: None}
    later = world.make("m.room.message", {"body": "after the ban"})
    answers = await world.malicious.send(world.ours.server_name, earlier, later)
    assert "is not in the room" in (answers[later.event_id] or "")
    assert (
        answers[earlier.event_id] is None
    )  # soft-failed: it may have been said before the ban, but comes after it
    for name, ask in QUESTIONS_OF_BANNED.items():
        with pytest.raises(FederationError) as caught:
            await ask(world)
        assert caught.value.status in (403, 404), (name, caught.value.reason)
        assert caught.value.errcode in ("M_FORBIDDEN", "M_NOT_FOUND"), (name, caught.value.reason)
    # Nor does it help that an honest server passes it on.
    await world.honest.send(world.ours.server_name, earlier, later)
    shown = {each["event_id"] for each in await history(world.alice, world.room.room_id)}
    assert shown.isdisjoint(answers)
    await world.is_usable()
