"""A server knows whether it is in a room, also when it came back through a server that had not heard of its end there yet."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services.timeline import Draft
from homeserver.storage import expelled_servers, outbox, rooms
from homeserver.storage.database import Transaction
from tests.support.federating_server import FederatingServer
from tests.support.invariants import violations
from tests.support.links import Link

from .conftest import Network


async def settled(servers: Sequence[FederatingServer]) -> None:
    """Wait until nothing is on its way."""
    async with asyncio.timeout(20):
        for _ in range(2):
            for server in servers:
                while (  # noqa: ASYNC110 -- nobody tells of it
                    server.incoming.running
                    or server.merging.running
                    or await server.database.read(outbox.waiting)
                ):
                    await asyncio.sleep(0.005)


async def shared_room(network: Network, *, third_is_in: bool = True) -> tuple[str, str, str, str]:
    """A room of the first server, with users of the others in it."""
    first, second, third = network.servers
    room_id = await first.room("10")
    alice, bob, carol = first.user("ours"), second.user("bob"), third.user("carol")
    await second.membership.join(bob, room_id, [first.server_name])
    if third_is_in:
        await third.membership.join(carol, room_id, [first.server_name])
    await settled(network.servers)
    return room_id, alice, bob, carol


async def set_state(
    server: FederatingServer, room_id: str, sender: str, kind: str, content: dict[str, Any], key: str = ""
) -> str:
    """Send a state event."""
    return await server.timeline.send(room_id, Draft(sender, f"m.room.{kind}", content, key))


async def all_have(network: Network, room_id: str, members: list[str]) -> None:
    """All servers have these members in the room, and sound databases."""
    for server in network.servers:
        assert await server.members(room_id) == sorted(members), server.server_name
        assert not await violations(server.database)


async def test_a_leave_that_has_not_arrived_and_a_join_after_it_are_a_fork(network: Network) -> None:
    _, second, third = network.servers
    room_id, alice, bob, carol = await shared_room(network)
    network.links.set(third.server_name, second.server_name, Link.UNSENT)
    leave = await set_state(third, room_id, carol, "member", {"membership": "leave"}, carol)
    await third.membership.join(carol, room_id, [second.server_name])
    assert carol in await third.members(room_id)
    assert await third.stored(leave) is not None and await second.stored(leave) is None
    # Third knows that both are ends of the graph, and so tells second of the leave.
    said = await third.say(room_id, carol, "back again")
    stored = await third.stored(said)
    assert stored is not None and leave in stored.event.prev_event_ids
    network.links.heal()
    await settled(network.servers)
    await all_have(network, room_id, [alice, bob, carol])


async def test_who_is_banned_does_not_come_back_through_a_server_that_does_not_know_yet(
    network: Network,
) -> None:
    first, second, third = network.servers
    room_id, alice, bob, carol = await shared_room(network)
    for one, other in ((first, second), (second, first)):
        network.links.set(one.server_name, other.server_name, Link.CUT)
    await set_state(first, room_id, alice, "member", {"membership": "ban"}, carol)
    async with asyncio.timeout(10):
        while carol in await third.members(room_id):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    with pytest.raises(MatrixError, match="banned"):
        await third.membership.join(carol, room_id, [second.server_name])
    assert await third.members(room_id) == sorted([alice, bob])
    assert carol in await second.members(room_id)  # who does not know better
    network.links.heal()
    await settled(network.servers)
    await all_have(network, room_id, [alice, bob])


async def test_a_server_whose_join_does_not_hold_learns_of_it(network: Network) -> None:
    first, second, third = network.servers
    room_id, alice, bob, carol = await shared_room(network, third_is_in=False)
    for one, other in ((first, second), (second, first), (first, third), (third, first)):
        network.links.set(one.server_name, other.server_name, Link.CUT)
    said = [await first.say(room_id, alice, f"unheard of {number}") for number in range(3)]
    await set_state(first, room_id, alice, "join_rules", {"join_rule": "invite"})
    secret = await first.say(room_id, alice, "after it")
    await third.membership.join(carol, room_id, [second.server_name])
    await second.say(room_id, bob, "hello Carol")
    network.links.heal()
    await settled(network.servers)
    await all_have(network, room_id, [alice, bob])
    for event_id in said:
        assert await third.stored(event_id) is not None
    later = await first.say(room_id, alice, "and now among ourselves")
    await settled(network.servers)
    assert await third.stored(later) is None
    assert secret != later

    async def position(tx: Transaction) -> int | None:
        room = await rooms.get(tx, room_id)
        assert room is not None
        found = await expelled_servers.get(tx, room.room_nid, third.server_name)
        return found.position if found else None

    # Second lets third ask for what came until then, and for nothing later; first never had it in the room.
    assert await second.database.read(position) is not None and await first.database.read(position) is None
    # Invited, it comes back, and is like any other again.
    await third.account("carol")
    await first.membership.invite(alice, room_id, carol)
    await third.membership.join(carol, room_id, [second.server_name])
    await settled(network.servers)
    await all_have(network, room_id, [alice, bob, carol])
    assert await second.database.read(position) is None
