"""A server changes its signing key in the middle of a conversation."""

import asyncio
from typing import Any

import pytest

from homeserver.services.clock import now_ms
from homeserver.services.identity import Identity
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import outbox
from homeserver.storage.events import EventStatus
from tests.support.federating_server import FederatingServer
from tests.support.links import Link

from .conftest import Network
from .world import BEGINNING


async def delivered(server: FederatingServer) -> None:
    """Wait until a server's outbox is empty."""
    async with asyncio.timeout(10):
        while await server.database.read(outbox.waiting):  # noqa: ASYNC110 -- nobody tells of it
            await asyncio.sleep(0.005)


async def accepted(server: FederatingServer, event_id: str) -> bool:
    """Whether a server has accepted an event."""
    stored = await server.stored(event_id)
    return stored is not None and stored.status is EventStatus.ACCEPTED


@pytest.mark.parametrize("version", ["4", "10", "12"])
async def test_what_was_signed_with_the_old_key_and_the_new_verifies(network: Network, version: str) -> None:
    first, second, third = network.servers
    room_id = await first.room(version)
    alice, bob, carol = first.user("ours"), second.user("bob"), third.user("carol")
    await second.membership.join(bob, room_id, [first.server_name])
    said = [await first.say(room_id, alice, "with the old key")]
    await delivered(first)
    # This one is signed with the old key and can only be sent after the rotation, by requests that the new one signs.
    network.links.set(first.server_name, second.server_name, Link.CUT)
    said.append(await first.say(room_id, alice, "with the old key, late"))
    await first.rotate_key("second")
    network.links.heal()
    said.append(await first.say(room_id, alice, "with the second key"))
    await delivered(first)
    said.append(await second.say(room_id, bob, "an answer"))
    await delivered(second)
    # And once more: now there are two old keys.
    await first.rotate_key("third")
    said.append(await first.say(room_id, alice, "with the third key"))
    await delivered(first)
    for event_id in said:
        assert await accepted(first, event_id) and await accepted(second, event_id)
    # Who has never seen the old keys verifies all that they have signed: the room's state, and its history.
    await third.membership.join(carol, room_id, [first.server_name])
    while await third.backfill.fill_gap(room_id, BEGINNING, 100):
        pass
    for event_id in said:
        assert await accepted(third, event_id)
    keys = {next(iter((await _event(first, each))["signatures"][first.server_name])) for each in said[:3]}
    assert keys == {"ed25519:ours", "ed25519:second"}


@pytest.mark.parametrize("version", ["4", "10", "12"])
async def test_an_old_key_signs_nothing_new(network: Network, version: str) -> None:
    first, second, _ = network.servers
    room_id = await first.room(version)
    await second.membership.join(second.user("bob"), room_id, [first.server_name])
    stolen = Identity(first.server_name, first.signing_key)
    await first.rotate_key("second")
    # What is dated before the key's end may have been delayed.
    for later, is_taken in ((-60_000, True), (60_000, False)):
        thief = Timeline(first.writes, first.states, stolen, lambda later=later: now_ms() + later)
        content = {"msgtype": "m.text", "body": "with the old key"}
        event_id = await thief.send(room_id, Draft(first.user("ours"), "m.room.message", content))
        await delivered(first)
        assert await accepted(second, event_id) == is_taken


async def _event(server: FederatingServer, event_id: str) -> dict[str, Any]:
    stored = await server.stored(event_id)
    assert stored is not None
    return dict(stored.event.pdu)
