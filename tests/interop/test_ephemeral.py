"""What passes between a Synapse and us, both ways: who is typing, how far rooms are read, who is online."""

from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person
from tests.support.synapse import Synapse

from .conftest import newcomer

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("direction", ["our user acts", "their user acts"]),
]

Answer = dict[str, Any]


class Pair:
    """Somebody who acts, and somebody on the other server who looks on, in a room of the one who acts."""

    def __init__(self, actor: Person, watcher: Person, room_id: str) -> None:
        self.actor, self.watcher, self.room_id = actor, watcher, room_id

    async def sees(self, condition: Callable[[Answer], bool], what: str) -> None:
        """Sync as the one who looks on, until an answer shows it."""

        async def shown() -> bool:
            return condition(await self.watcher.sync(timeout=2_000, set_presence="offline"))

        await until(shown, what)

    def ephemeral(self, answer: Answer, kind: str) -> list[Any]:
        """The content of the room's ephemeral events of a type."""
        room = answer.get("rooms", {}).get("join", {}).get(self.room_id, {})
        return [
            event["content"] for event in room.get("ephemeral", {}).get("events", []) if event["type"] == kind
        ]

    async def receipt(self, kind: str, event_id: str, **body: Any) -> None:
        """The one who acts has read up to an event."""
        await self.actor.request("POST", "rooms", self.room_id, "receipt", kind, event_id, body=body)

    def receipts(self, answer: Answer) -> set[tuple[str, str, str | None]]:
        """(event ID, type, thread ID) of the receipts of the one who acts."""
        return {
            (event_id, kind, users[self.actor.user_id].get("thread_id"))
            for content in self.ephemeral(answer, "m.receipt")
            for event_id, kinds in content.items()
            for kind, users in kinds.items()
            if self.actor.user_id in users
        }

    def presence(self, answer: Answer) -> list[Answer]:
        """The content of the presence events of the one who acts."""
        events = answer.get("presence", {}).get("events", [])
        return [event["content"] for event in events if event["sender"] == self.actor.user_id]

    async def set_presence(self, presence: str, **more: Any) -> None:
        """The one who acts tells."""
        body = {"presence": presence, **more}
        await self.actor.request("PUT", "presence", self.actor.user_id, "status", body=body)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(direction: str, matrix_org: Synapse, ours: OurServer) -> Pair:
    """Both in a room, and the one who looks on has seen all until now."""
    home, away = (ours, matrix_org) if direction == "our user acts" else (matrix_org, ours)
    actor, watcher = await newcomer(home, "actor"), await newcomer(away, "watcher")
    room_id = await actor.create_room(preset="public_chat")
    await watcher.join(room_id, via=[home.server_name])
    await watcher.sync(set_presence="offline")
    return Pair(actor, watcher, room_id)


async def test_typing(pair: Pair) -> None:
    typing = ("rooms", pair.room_id, "typing", pair.actor.user_id)
    await pair.actor.request("PUT", *typing, body={"typing": True, "timeout": 30_000})
    begun, ended = {"user_ids": [pair.actor.user_id]}, {"user_ids": []}
    await pair.sees(lambda answer: begun in pair.ephemeral(answer, "m.typing"), "that somebody is typing")
    await pair.actor.request("PUT", *typing, body={"typing": False})
    await pair.sees(lambda answer: ended in pair.ephemeral(answer, "m.typing"), "that nobody is typing")


async def test_receipts(pair: Pair) -> None:
    # A Synapse shows its clients one receipt of a user for an event, so the one of the main timeline is for another event.
    first, root = (
        await pair.watcher.send(pair.room_id, "first"),
        await pair.watcher.send(pair.room_id, "root"),
    )
    relation = {"rel_type": "m.thread", "event_id": root}
    content = {"msgtype": "m.text", "body": "reply", "m.relates_to": relation}
    reply = await pair.watcher.send_event(pair.room_id, "m.room.message", content)

    async def arrived() -> bool:
        return await pair.actor.event(pair.room_id, reply) is not None

    await until(arrived, "the messages to arrive")
    await pair.receipt("m.read.private", reply)
    await pair.receipt("m.read", root)
    await pair.receipt("m.read", first, thread_id="main")
    await pair.receipt("m.read", reply, thread_id=root)
    wanted = {(root, "m.read", None), (first, "m.read", "main"), (reply, "m.read", root)}
    found: set[tuple[str, str, str | None]] = set()

    def complete(answer: Answer) -> bool:
        found.update(pair.receipts(answer))
        return found >= wanted

    await pair.sees(complete, "all public receipts")
    assert found == wanted, "and no private one"


async def test_presence(pair: Pair) -> None:
    await pair.set_presence("online", status_msg="here")

    def is_here(answer: Answer) -> bool:
        return any(
            (content["presence"], content.get("status_msg"), content.get("currently_active"))
            == ("online", "here", True)
            for content in pair.presence(answer)
        )

    await pair.sees(is_here, "that somebody is online")
    status = ("presence", pair.actor.user_id, "status")
    found = await pair.watcher.request("GET", *status)
    assert (found["presence"], found["status_msg"]) == ("online", "here")
    assert 0 <= found["last_active_ago"] < 60_000
    for presence in ("unavailable", "offline"):
        await pair.set_presence(presence)
        await pair.sees(
            lambda answer, presence=presence: any(  # type: ignore[misc]
                content["presence"] == presence for content in pair.presence(answer)
            ),
            f"that somebody is {presence}",
        )


async def test_who_joins_gets_to_know_who_is_there(pair: Pair) -> None:
    room_id = await pair.watcher.create_room(preset="public_chat")
    await pair.set_presence("online", status_msg="new here")
    await pair.watcher.sync(set_presence="offline")
    await pair.watcher.leave(pair.room_id)
    await pair.actor.join(room_id, via=[pair.watcher.server_name])
    await pair.sees(
        lambda answer: any(content.get("status_msg") == "new here" for content in pair.presence(answer)),
        "that the newcomer is online",
    )
