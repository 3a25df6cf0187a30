"""rc_joins.remote, rc_joins_per_room and rc_invites, with the whole server and a scripted peer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.errors import MatrixError
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import send_join
from homeserver.services.membership_limits import JoinLimits
from homeserver.services.notifier import Committed
from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.federation_peer import FederationPeer, PeerRoom
from tests.support.limits import NO_LIMIT
from tests.support.rooms import RoomServices, open_sqlite
from tests.support.whole import V3, WholeServer, create_room, membership

TWO = {"per_second": 0.01, "burst_count": 2}
WIDE = {"per_second": 1000, "burst_count": 1000}


class Server(WholeServer):
    """This server with limits."""

    def __init__(self, authority: Authority, directory: Path, peer: FederationPeer, **limits: Any) -> None:
        super().__init__(authority, directory, (peer.server_name,), more=limits)


def refused(answer: Answer) -> int:
    """An answer that says when to try again, in its body and in its header; how long, in milliseconds."""
    retry_after_ms: int = answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"]
    assert 0 < retry_after_ms <= 200_000
    assert int(answer.headers["Retry-After"]) == -(-retry_after_ms // 1000)
    return retry_after_ms


async def join_at(client: Client, room: PeerRoom) -> Answer:
    """Join a room of the peer."""
    return await client.post(f"{V3}/join/{quote(room.room_id)}?via={room.peer.server_name}")


async def invite(client: Client, room_id: str, user_id: str) -> Answer:
    """Invite a user."""
    return await client.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": user_id})


async def test_rooms_that_have_to_be_fetched(
    authority: Authority, peer: FederationPeer, tmp_path: Path
) -> None:
    async with Server(authority, tmp_path, peer, rc_joins={"local": WIDE, "remote": TWO}) as ours:
        alice, bob = await ours.register("alice"), await ours.register("bob")
        rooms = [peer.room() for _ in range(3)]
        for room in rooms[:2]:
            (await join_at(alice, room)).ok()
        refused(await join_at(alice, rooms[2]))
        (await join_at(alice, rooms[0])).ok()  # she is in it
        (await membership(alice, await create_room(bob), "join")).ok()  # it is here
        (await join_at(bob, rooms[2])).ok()  # and others have a limit of their own
        (await join_at(alice, rooms[2])).ok()  # now it is here
        assert len(peer.asked_for("send_join")) == 3


async def test_a_repeated_request_for_a_join_under_way_is_not_counted(
    authority: Authority, peer: FederationPeer, tmp_path: Path
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(asked: Any) -> Any:
        begun.set()
        await go_on.wait()
        return peer.honest(asked)

    peer.answers["make_join"] = slowly
    async with Server(authority, tmp_path, peer, rc_joins={"local": WIDE, "remote": TWO}) as ours:
        alice = await ours.register("alice")
        room = peer.room()
        first = asyncio.create_task(join_at(alice, room))
        await begun.wait()
        again = [asyncio.create_task(join_at(alice, room)) for _ in range(5)]
        await asyncio.sleep(0.1)
        go_on.set()
        for answer in await asyncio.gather(first, *again):
            answer.ok()
        (await join_at(alice, peer.room())).ok()
        refused(await join_at(alice, peer.room()))


async def test_joins_of_a_room_by_anybody(authority: Authority, peer: FederationPeer, tmp_path: Path) -> None:
    # Three: the creator's join counts too.
    limit = {"per_second": 0.01, "burst_count": 3}
    async with Server(authority, tmp_path, peer, rc_joins_per_room=limit) as ours:
        alice, bob, carol = [await ours.register(name) for name in ("alice", "bob", "carol")]
        room_id = await create_room(alice)
        (await membership(bob, room_id, "join")).ok()
        (await membership(bob, room_id, "join")).ok()  # is in it, and does not count
        await peer.join(ours.server_name, room_id, peer.user("one"), "12")
        refused(await membership(carol, room_id, "join"))
        with pytest.raises(FederationError) as caught:
            await peer.join(ours.server_name, room_id, peer.user("two"), "12")
        assert (caught.value.status, caught.value.errcode) == (429, "M_LIMIT_EXCEEDED")
        # Nor may who has the template already.
        other = await create_room(alice)
        (await membership(carol, other, "join")).ok()
        event = await peer.join_event(ours.server_name, other, peer.user("one"), "12")
        await peer.join(ours.server_name, other, peer.user("two"), "12")
        with pytest.raises(FederationError) as caught:
            await send_join(peer.client, ours.server_name, event)
        assert caught.value.errcode == "M_LIMIT_EXCEEDED"


async def test_joins_that_other_servers_let_in_count(
    authority: Authority, peer: FederationPeer, tmp_path: Path
) -> None:
    limit = {"per_second": 0.01, "burst_count": 4}
    async with Server(authority, tmp_path, peer, rc_joins_per_room=limit) as ours:
        alice, bob = await ours.register("alice"), await ours.register("bob")
        room = peer.room()
        for number in range(20):  # who was there before us does not count
            user = peer.user(f"old{number}")
            room.add("m.room.member", user, {"membership": "join"}, user)
        (await join_at(alice, room)).ok()
        for number in range(3):
            user = peer.user(f"new{number}")
            joined = room.add("m.room.member", user, {"membership": "join"}, user)
            renamed = room.add("m.room.member", user, {"membership": "join", "displayname": "N"}, user)
            await peer.send(ours.server_name, joined, renamed)
        refused(await join_at(bob, room))


async def test_invites_by_room_by_user_and_by_issuer(
    authority: Authority, peer: FederationPeer, tmp_path: Path
) -> None:
    limits = {"per_room": TWO, "per_user": WIDE, "per_issuer": WIDE}
    async with Server(authority, tmp_path, peer, rc_invites=limits) as ours:
        alice, _ = await ours.register("alice"), await ours.register("bob")
        room_id = await create_room(alice)
        (await invite(alice, room_id, peer.user("one"))).ok()
        (await invite(alice, room_id, ours.user_id("bob"))).ok()
        refused(await invite(alice, room_id, peer.user("two")))
        (await invite(alice, await create_room(alice), peer.user("two"))).ok()


async def test_invites_of_a_user_count_from_wherever(
    authority: Authority, peer: FederationPeer, tmp_path: Path
) -> None:
    limits = {"per_room": WIDE, "per_user": TWO, "per_issuer": WIDE}
    async with Server(authority, tmp_path, peer, rc_invites=limits) as ours:
        alice, _ = await ours.register("alice"), await ours.register("bob")
        (await invite(alice, await create_room(alice), ours.user_id("bob"))).ok()
        await peer.invite(ours.server_name, peer.room(), ours.user_id("bob"))
        refused(await invite(alice, await create_room(alice), ours.user_id("bob")))
        with pytest.raises(FederationError) as caught:
            await peer.invite(ours.server_name, peer.room(), ours.user_id("bob"))
        assert (caught.value.status, caught.value.errcode) == (429, "M_LIMIT_EXCEEDED")


async def test_invites_that_a_user_sends(authority: Authority, peer: FederationPeer, tmp_path: Path) -> None:
    limits = {"per_room": WIDE, "per_user": WIDE, "per_issuer": {"per_second": 0.01, "burst_count": 3}}
    async with Server(authority, tmp_path, peer, rc_invites=limits) as ours:
        alice, bob = await ours.register("alice"), await ours.register("bob")
        room_id = await create_room(alice, invite=[peer.user("one"), ours.user_id("bob")])
        before = await ours.row_counts()
        body = {"invite": [peer.user("two"), peer.user("three")]}
        refused(await alice.post(f"{V3}/createRoom", body))  # one is left, and no room is made
        assert (await ours.row_counts())["rooms"] == before["rooms"]
        (await invite(alice, room_id, peer.user("two"))).ok()
        refused(await invite(alice, room_id, peer.user("three")))
        (await invite(bob, await create_room(bob), peer.user("three"))).ok()


async def test_a_room_may_be_joined_again_in_time(tmp_path: Path) -> None:
    now = 0.0
    limits = JoinLimits(NO_LIMIT, Limit(per_second=0.5, burst_count=2), monotonic=lambda: now)
    database = await open_sqlite(tmp_path / "homeserver.db")
    services = RoomServices(database)
    room_id, other = await services.room("@bob:ours.test"), await services.room("@bob:ours.test")
    created = [news for news in services.committed if room_id in news.rooms]
    for news in [*created, *created]:
        limits.committed(news)
    with exceeded(2_000):
        limits.check_room(room_id)
    limits.check_room(other)
    now = 2.0
    limits.check_room(room_id)
    limits.committed(Committed(2, frozenset({room_id})))  # nobody joined
    limits.check_room(room_id)
    await database.close()


class Limit:
    """A limit of the test's own."""

    def __init__(self, per_second: float, burst_count: int) -> None:
        self.per_second = per_second
        self.burst_count = burst_count


@contextmanager
def exceeded(retry_after_ms: int) -> Iterator[None]:
    """M_LIMIT_EXCEEDED with this time to wait."""
    with pytest.raises(MatrixError) as caught:
        yield
    assert caught.value.extra == {"retry_after_ms": retry_after_ms}
