"""A join through another server that takes longer than clients wait: it goes on, says where it is, and asked again it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.services import joins
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom, until
from tests.support.whole import V3, WholeServer


class SlowPeer(FederationPeer):
    """A server that thinks long about a join."""

    def begin(self) -> None:
        """From now on joins wait."""
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

        async def slowly(asked: Asked) -> Any:
            self.begun.set()
            await self.go_on.wait()
            return self.honest(asked)

        self.answers["send_join"] = slowly


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[SlowPeer]:
    """The slow one."""
    async with SlowPeer(authority) as server:
        yield server


def join(client: Client, room: PeerRoom) -> asyncio.Task[Any]:
    """Ask to join a room of the peer."""
    target = f"{V3}/join/{quote(room.room_id)}?via={room.peer.server_name}"
    return asyncio.create_task(client.post(target))


async def test_who_gives_up_waiting_and_asks_again_is_answered(
    ours: WholeServer, peer: SlowPeer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joins, "PROGRESS_EVERY_S", 0.02)
    caplog.set_level("INFO")
    alice = await ours.register("alice")
    room = peer.room()
    peer.begin()
    first = join(alice, room)
    await peer.begun.wait()
    first.cancel()  # the client's patience is at an end
    again = join(alice, room)
    # Meanwhile the operator reads where it is.
    await until(lambda: sum(f"joining {room.room_id} through" in line for line in caplog.messages) >= 2)
    assert any("send_join" in line and "so far" in line for line in caplog.messages)
    assert not again.done()
    peer.go_on.set()
    assert (await again).ok() == {"room_id": room.room_id}
    assert len(peer.asked_for("send_join")) == 1
    assert (await join(alice, room)).ok() == {"room_id": room.room_id}
    assert len(peer.asked_for("make_join")) == 1


async def test_a_join_that_ends_while_nobody_waits_is_there_in_sync(
    ours: WholeServer, peer: SlowPeer
) -> None:
    alice = await ours.register("alice")
    room = peer.room()
    peer.begin()
    since = (await alice.get(f"{V3}/sync")).ok()["next_batch"]
    first = join(alice, room)
    await peer.begun.wait()
    first.cancel()
    news = asyncio.create_task(alice.get(f"{V3}/sync?timeout=10000&since={since}"))
    peer.go_on.set()
    assert room.room_id in (await news).ok()["rooms"]["join"]


async def test_a_join_that_fails_while_nobody_waits_is_begun_anew(ours: WholeServer, peer: SlowPeer) -> None:
    alice = await ours.register("alice")
    room = peer.room()
    peer.begin()
    first = join(alice, room)
    await peer.begun.wait()
    first.cancel()
    peer.answers["send_join"] = peer.honest
    await peer.stop()  # breaks the join off
    await peer.start()
    assert (await join(alice, room)).ok() == {"room_id": room.room_id}


async def test_who_joins_while_another_does_needs_no_second_copy_of_the_room(
    ours: WholeServer, peer: SlowPeer
) -> None:
    alice, bob = await ours.register("alice"), await ours.register("bob")
    room = peer.room()
    peer.begin()
    first = join(alice, room)
    await peer.begun.wait()
    second = join(bob, room)
    await asyncio.sleep(0.1)
    assert not second.done()
    peer.go_on.set()
    assert (await first).ok() == (await second).ok() == {"room_id": room.room_id}
    assert len(peer.asked_for("send_join")) == 1
    await until(lambda: ours.user_id("bob") in {event.state_key for event in room.events.values()})
