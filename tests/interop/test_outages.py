"""Servers that stop, crash and come back while people write: nothing is lost on either side."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.support.agreement import agree
from tests.support.follower import Follower
from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person
from tests.support.synapse import Synapse

from .scenarios import raise_power

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def room_id(alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer) -> AsyncIterator[str]:
    """A room of both, in which bob may change the state; both servers run again afterwards."""
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id, via=["matrix.org"])
    await raise_power(alice, room_id, {bob.user_id: 50})
    await has_power(bob, room_id)
    yield room_id
    for server in (matrix_org, ours):
        if not server.process.is_running:
            await server.start()


async def has_power(person: Person, room_id: str) -> None:
    """Wait until the person's server knows of their power."""

    async def known() -> bool:
        levels = await person.content(room_id, "m.room.power_levels")
        return levels is not None and person.user_id in levels["users"]

    await until(known, f"{person.user_id} to have power")


async def write(person: Person, room_id: str, what: str, messages: int) -> list[str]:
    """Messages with a change of state and a redaction among them; the event IDs."""
    sent = [await person.send(room_id, f"{what} {number}") for number in range(messages)]
    sent.append(await person.set_state(room_id, "m.room.topic", {"topic": f"{person.user_id}: {what}"}))
    sent.append(await person.redact(room_id, sent[0]))
    return sent


async def following(person: Person, room_id: str) -> Follower:
    """A client that has read all there is so far."""
    view = Follower(person, room_id)
    await view.update()
    return view


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("ours", ["sqlite", "postgresql"], indirect=True)
async def test_what_is_said_while_our_server_is_down_is_there_when_it_is_back(
    end: str, alice: Person, bob: Person, ours: OurServer, room_id: str
) -> None:
    view = await following(bob, room_id)
    before = await write(bob, room_id, "before", 3)
    await (ours.stop() if end == "SIGTERM" else ours.kill())
    # Not killed because it did not end when it was told to.
    assert end == "SIGKILL" or ours.process.exit_code in (0, -signal.SIGTERM)
    missed = await write(alice, room_id, "missed", 30)
    await ours.start()
    # Its token is still valid, and so is the point to which it has read.
    sent = await write(bob, room_id, "after", 3)
    last = await alice.send(room_id, "welcome back")
    await view.until_event(*before, *missed, *sent, last)
    assert [event_id for event_id in view.event_ids if event_id in {*missed, last}] == [*missed, last]
    room = await agree(room_id, alice, bob)
    assert {*before, *missed, *sent, last} <= set(room.event_ids)
    assert {key: event["event_id"] for key, event in view.state.items()} == room.state


async def test_what_our_server_has_answered_survives_a_crash(
    alice: Person, bob: Person, ours: OurServer, room_id: str
) -> None:
    answered: list[str] = []

    async def talk(number: int) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            while True:
                answered.append(await bob.send(room_id, f"talker {number}, message {len(answered)}"))

    talkers = [asyncio.create_task(talk(number)) for number in range(4)]

    async def enough() -> bool:
        return len(answered) >= 40

    await until(enough, "some messages to be sent")
    await ours.kill()
    await asyncio.gather(*talkers)
    await ours.start()
    await bob.send(room_id, "I am back")
    room = await agree(room_id, alice, bob)
    assert set(answered) <= set(room.event_ids)


@pytest.mark.parametrize("ours", ["sqlite", "postgresql"], indirect=True)
async def test_what_our_users_say_while_synapse_is_down_reaches_it_later(
    alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer, room_id: str
) -> None:
    view = await following(alice, room_id)
    await matrix_org.stop()
    first = await write(bob, room_id, "nobody hears", 60)  # more than a transaction holds

    async def tried() -> bool:
        return "matrix.org does not answer" in ours.log()

    await until(tried, "our server to find out that Synapse is down")
    # What waits for Synapse must outlast our server too.
    await ours.kill()
    await ours.start()
    second = await write(bob, room_id, "still nobody", 5)
    await matrix_org.start()
    await view.until_event(*first, *second)
    sent = [*first, *second]
    assert [event_id for event_id in view.event_ids if event_id in sent] == sent
    await agree(room_id, alice, bob)


@pytest.mark.parametrize("ours", ["sqlite", "postgresql"], indirect=True)
async def test_two_histories_written_apart_become_one(
    alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer, room_id: str
) -> None:
    hers, his = await following(alice, room_id), await following(bob, room_id)
    await matrix_org.stop()
    from_bob = await write(bob, room_id, "bob alone", 25)
    from_bob.append(await bob.set_state(room_id, "m.room.name", {"name": "bob's"}))
    await ours.stop()
    await matrix_org.start()
    from_alice = await write(alice, room_id, "alice alone", 25)
    from_alice.append(await alice.set_state(room_id, "m.room.name", {"name": "alice's"}))
    await alice.ban(room_id, f"@nobody:{ours.server_name}")
    await ours.start()
    hello = await bob.send(room_id, "together again")
    await hers.until_event(*from_bob, hello)
    hello = await alice.send(room_id, "at last")
    await his.until_event(*from_alice, hello)
    room = await agree(room_id, alice, bob)
    assert {*from_bob, *from_alice} <= set(room.event_ids)
    assert {key: event["event_id"] for key, event in his.state.items()} == room.state
