"""Hydrogen, a Matrix client for browsers, in Chromium: log-in, a new room, a conversation, a visit to another room.

Hydrogen tells nobody that its user is typing and edits nothing: that is left to the libraries' tests.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import PASSWORD, Person, Refused

from .programs import ENVIRONMENTS, run

HERE = Path(__file__).parent / "hydrogen"
ENVIRONMENT = ENVIRONMENTS / "hydrogen"

PATIENCE_S = 100
SCREENSHOTS = [
    "1-refused.png",
    "2-new-room.png",
    "3-conversation.png",
    "4-reactions-and-reply.png",
    "5-after-reload.png",
    "6-joined-by-alias.png",
    "7-left.png",
]
# The wrong password, and a device that waits for its owner's next log-in, which no version of the specification has.
REFUSED = {
    "403 POST /_matrix/client/r0/login",
    "404 GET /_matrix/client/unstable/org.matrix.msc2697.v2/dehydrated_device",
}

Event = dict[str, Any]


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Other:
    """Who talks with the one at the browser, and has to see what she does."""

    def __init__(self, person: Person, alice: str) -> None:
        self.person, self.alice = person, alice
        self.seen: list[Event] = []
        self.receipts: set[str] = set()
        """The events that alice has read up to, one after the other."""

    async def sync(self) -> None:
        """Take what is new."""
        answer = await self.person.sync(timeout=1_000)
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            self.seen += [{**event, "room_id": room_id} for event in room["timeline"]["events"]]
            for event in room["ephemeral"]["events"]:
                if event["type"] == "m.receipt":
                    content = event["content"]
                    self.receipts |= {key for key in content if self.alice in content[key].get("m.read", {})}

    async def sees(self, condition: Callable[[Event], Any], what: str) -> Event:
        """The event of alice's that is waited for."""
        found: list[Event] = []

        async def shown() -> bool:
            await self.sync()
            found.extend(event for event in self.seen if event["sender"] == self.alice and condition(event))
            return bool(found)

        await until(shown, what, PATIENCE_S)
        return found[0]

    async def hears(self, text: str) -> Event:
        """A message."""
        return await self.sees(lambda event: text in event["content"].get("body", ""), f"{text!r}")

    async def come_in(self, alias: str) -> str:
        """Join a room once it is there; its room ID."""
        rooms: list[str] = []

        async def is_in() -> bool:
            with contextlib.suppress(Refused):
                rooms.append(await self.person.join(alias))
            return bool(rooms)

        await until(is_in, "the room", PATIENCE_S)
        return rooms[0]


async def _talk(bob: Other, alias: str) -> None:
    """Everything that alice does in her room reaches bob, and what he answers is waited for by her."""
    room_id = await bob.come_in(alias)
    greeting = await bob.hears("Hello from a browser")
    said = await bob.person.send(room_id, "Hello back")
    reaction = await bob.sees(lambda event: event["type"] == "m.reaction", "the reaction")
    relation = {"rel_type": "m.annotation", "event_id": said, "key": "👍"}
    assert reaction["content"] == {"m.relates_to": relation}
    mine = {"rel_type": "m.annotation", "event_id": greeting["event_id"], "key": "🎉"}
    await bob.person.send_event(room_id, "m.reaction", {"m.relates_to": mine})
    reply = await bob.hears("A reply from a browser")
    assert reply["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": said}}
    await bob.person.send(room_id, "I have seen your reply")
    slip = (await bob.hears("Soon taken back"))["event_id"]
    await bob.person.send(room_id, "Was that a slip?")
    await bob.sees(
        lambda event: event["type"] == "m.room.redaction" and event["content"]["redacts"] == slip,
        "the redaction",
    )
    gone = await bob.person.event(room_id, slip)
    assert gone is not None and gone["content"] == {}
    last = await bob.person.send(room_id, "It is gone")

    async def has_read() -> bool:
        await bob.sync()
        return last in bob.receipts

    await until(has_read, "the receipt", PATIENCE_S)
    await bob.person.send(room_id, "You have read it")


async def _receive(bob: Other, room_id: str) -> None:
    """Alice comes into bob's room, and goes."""

    async def membership(wanted: str) -> None:
        await bob.sees(
            lambda event: (
                event["type"] == "m.room.member"
                and event["room_id"] == room_id
                and event["content"]["membership"] == wanted
            ),
            f"alice to {wanted}",
        )

    await membership("join")
    await bob.person.send(room_id, "Welcome")
    await membership("leave")
    assert await bob.person.joined_members(room_id) == {bob.person.user_id}


async def test_a_conversation_in_a_browser(ours: OurServer, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("chromium") is None:
        pytest.skip("this takes Debian's nodejs and chromium")
    if not (ENVIRONMENT / "node_modules").exists():
        pytest.skip("there is no Hydrogen in .test-env/hydrogen: scripts/test makes it")
    alice = await ours.register("alice")
    bob = Other(await ours.register("bob"), alice.user_id)
    lobby = await bob.person.create_room(preset="public_chat", name="The lobby", room_alias_name="lobby")

    async def play() -> None:
        await _talk(bob, f"#hydrogen:{ours.server_name}")
        await _receive(bob, lobby)

    script, url = str(HERE / "journey.mjs"), ours.site.client_url
    places = (f"#lobby:{ours.server_name}", str(tmp_path), str(ENVIRONMENT))
    playing = asyncio.create_task(play())
    browsing = asyncio.create_task(run(["node", script, url, "alice", PASSWORD, *places], seconds=PATIENCE_S))
    try:
        # What bob misses ends the test at once, with what it was.
        done, _ = await asyncio.wait({playing, browsing}, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        playing.cancel()
        browsing.cancel()
    seen = json.loads(browsing.result().splitlines()[-1])
    assert seen["wrong"] == []
    assert set(seen["refused"]) <= REFUSED
    assert _names(tmp_path) == SCREENSHOTS
