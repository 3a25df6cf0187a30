"""An invite that is refused while no server in the room can be reached: the room hears of it later."""

from typing import Any

import pytest

from homeserver.services.untold_leaves import MAX_TRIES
from homeserver.storage import untold_leaves
from homeserver.storage.untold_leaves import UntoldLeave
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, PeerRoom, error

from .test_invites import private

WEEK_MS = 7 * 24 * 3_600_000


async def waiting(ours: FederatingServer) -> list[UntoldLeave]:
    """What is still to be told."""
    return await ours.database.read(lambda tx: untold_leaves.due(tx, 2**60, 100))


async def refused_while_gone(ours: FederatingServer, peer: FederationPeer) -> tuple[str, PeerRoom]:
    """An invite of Bob's that he has refused while the inviting server was gone."""
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    await peer.stop()
    await ours.membership.leave(bob, room.room_id, "no, thank you")
    assert "rooms" not in await ours.sync(bob)
    return bob, room


async def test_the_room_is_told_when_its_server_is_back(ours: FederatingServer, peer: FederationPeer) -> None:
    bob, room = await refused_while_gone(ours, peer)
    await ours.untold.tell_due()  # not yet due
    assert [leave.tries for leave in await waiting(ours)] == [1]
    ours.ahead_ms = 2 * 60_000
    await ours.untold.tell_due()  # in vain
    (leave,) = await waiting(ours)
    assert leave.tries == 2 and leave.retry_at_ms > ours.ahead_ms
    await peer.start()
    ours.ahead_ms = WEEK_MS
    await ours.untold.tell_due()
    left = room.events[room.state["m.room.member", bob]]
    assert left.content == {"membership": "leave", "reason": "no, thank you"}
    assert await waiting(ours) == []
    assert "rooms" not in await ours.sync(bob)  # no news for who knows


async def test_a_new_invite_is_not_refused_by_the_old_refusal(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    bob, room = await refused_while_gone(ours, peer)
    await peer.start()
    room.add("m.room.member", peer.user("alice"), {"membership": "leave"}, bob)
    await peer.invite(ours.server_name, room, bob)
    ours.ahead_ms = WEEK_MS
    await ours.untold.tell_due()
    assert await waiting(ours) == []
    assert room.events[room.state["m.room.member", bob]].membership == "invite"
    assert room.room_id in (await ours.sync(bob))["rooms"]["invite"]


async def test_it_is_given_up_after_some_tries(ours: FederatingServer, peer: FederationPeer) -> None:
    await refused_while_gone(ours, peer)
    for tries in range(2, MAX_TRIES):
        ours.ahead_ms += WEEK_MS
        await ours.untold.tell_due()
        assert [leave.tries for leave in await waiting(ours)] == [tries]
    ours.ahead_ms += WEEK_MS
    await ours.untold.tell_due()
    assert await waiting(ours) == []


@pytest.mark.parametrize(
    ("answer", "is_asked_again"),
    [
        (error(403, "M_FORBIDDEN", "not invited"), False),
        (error(404, "M_NOT_FOUND", "no such room"), False),
        (error(502, "M_UNKNOWN", "a proxy of mine"), True),
        ({"room_version": "10", "event": {}}, False),
    ],
)
async def test_who_answers_is_asked_again_only_if_it_may_help(
    ours: FederatingServer, peer: FederationPeer, answer: Any, is_asked_again: bool
) -> None:
    room, bob = private(peer), await ours.account("bob")
    await peer.invite(ours.server_name, room, bob)
    peer.answers["make_leave"] = lambda _: answer
    await ours.membership.leave(bob, room.room_id)
    assert bool(await waiting(ours)) == is_asked_again
