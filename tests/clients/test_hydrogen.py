"""Hydrogen, a Matrix client for browsers, in Chromium: log-in, a new room, a conversation."""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

import pytest

from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import PASSWORD, Person, Refused

from .programs import ENVIRONMENTS, run

HERE = Path(__file__).parent / "hydrogen"
ENVIRONMENT = ENVIRONMENTS / "hydrogen"

PATIENCE_S = 100
SCREENSHOTS = ["1-refused.png", "2-new-room.png", "3-conversation.png", "4-after-reload.png"]
# The wrong password, and a device that waits for its owner's next log-in, which no version of the specification has.
REFUSED = {
    "403 POST /_matrix/client/r0/login",
    "404 GET /_matrix/client/unstable/org.matrix.msc2697.v2/dehydrated_device",
}


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def _answer(bob: Person, alias: str) -> None:
    """Come into the room once it is there, and answer what is said in it."""

    async def is_in() -> bool:
        with contextlib.suppress(Refused):
            rooms.append(await bob.join(alias))
        return bool(rooms)

    async def is_greeted() -> bool:
        return "Hello from a browser" in await bob.texts(rooms[0])

    rooms: list[str] = []
    await until(is_in, "the room", PATIENCE_S)
    await until(is_greeted, "what is said in the room", PATIENCE_S)
    await bob.send(rooms[0], "Hello back")


async def test_a_conversation_in_a_browser(ours: OurServer, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("chromium") is None:
        pytest.skip("this takes Debian's nodejs and chromium")
    if not (ENVIRONMENT / "node_modules").exists():
        pytest.skip("there is no Hydrogen in .test-env/hydrogen: scripts/test makes it")
    await ours.register("alice")
    bob = await ours.register("bob")
    url = ours.site.client_url
    command = ["node", str(HERE / "journey.mjs"), url, "alice", PASSWORD, str(tmp_path), str(ENVIRONMENT)]
    answering = asyncio.create_task(_answer(bob, f"#hydrogen:{ours.server_name}"))
    try:
        seen = json.loads((await run(command, seconds=PATIENCE_S)).splitlines()[-1])
        await answering
    finally:
        answering.cancel()
    assert seen["wrong"] == []
    assert set(seen["refused"]) <= REFUSED
    assert _names(tmp_path) == SCREENSHOTS
