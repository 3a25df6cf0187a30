"""A room of a thousand members and five thousand events on Synapse, joined by us: what it takes, and that it is whole."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.agreement import seen
from tests.support.network import Network
from tests.support.our_server import OurServer
from tests.support.population import large_room
from tests.support.synapse import Synapse

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEMBERS = 1_000
EVENTS = 5_000
MEGABYTE = 2**20


async def test_a_large_room_is_joined(
    matrix_org: Synapse, shared_network: Network, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    room = await large_room(matrix_org, members=MEMBERS, events=EVENTS, alias="large")
    record_property("figure", f"large room: made on Synapse in {time.monotonic() - began:.0f} s")
    # A server that does nothing else, so that the memory is that of the join.
    async with OurServer(shared_network, "large.test") as ours:
        bob = await ours.register("bob")
        ours.forget_memory_peak()
        before = ours.memory()
        began = time.monotonic()
        assert await bob.join("#large:matrix.org") == room.room_id
        joined = time.monotonic()
        peak = ours.memory()
        answer = await bob.sync()
        synced = time.monotonic()
        record_property(
            "figure",
            f"large room: {MEMBERS + 1} members and {EVENTS} events joined in {joined - began:.2f} s, "
            f"memory {before / MEGABYTE:.0f} MB before and {peak / MEGABYTE:.0f} MB at most, "
            f"first /sync {synced - joined:.2f} s",
        )
        expected = {person.user_id for person in (room.creator, *room.members, bob)}
        assert await bob.joined_members(room.room_id) == expected
        section = answer["rooms"]["join"][room.room_id]
        assert section["summary"]["m.joined_member_count"] == MEMBERS + 2
        told = [*section["state"]["events"], *section["timeline"]["events"]]
        assert {e["state_key"] for e in told if e["type"] == "m.room.member"} == expected

        on_synapse = await seen(room.creator, room.room_id)
        assert {key: e["event_id"] for key, e in (await bob.state(room.room_id)).items()} == on_synapse.state

        began = time.monotonic()
        history = await seen(bob, room.room_id)
        record_property(
            "figure",
            f"large room: {len(history.history)} events of history read in {time.monotonic() - began:.1f} s, "
            f"memory {ours.memory() / MEGABYTE:.0f} MB at most, "
            f"database {ours.database_path.stat().st_size / MEGABYTE:.1f} MB",
        )
        assert Counter(history.event_ids) == Counter(on_synapse.event_ids)
        assert history == on_synapse
        assert not ours.complaints(), "\n".join(ours.complaints())
