"""Events whose past cannot be had just now: their server is asked again, because it will not send them a second time."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom

FILLING = ("get_missing_events", "state_ids", "state", "event", "event_auth")


def failing(peer: FederationPeer, times: int) -> Callable[[Asked], Any]:
    """Cannot answer for so many requests, and then can."""
    left = times

    def answer(request: Asked) -> Any:
        nonlocal left
        if left > 0:
            left -= 1
            return web.json_response({"errcode": "M_UNKNOWN", "error": "overloaded"}, status=503)
        return peer.honest(request)

    return answer


async def test_a_server_that_cannot_answer_is_asked_again(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom
) -> None:
    missed = room.say(peer.user("alice"), "what was missed")
    newest = room.say(peer.user("alice"), "the newest")
    answer = failing(peer, 3)  # get_missing_events and state_ids, and the first of them once more
    peer.answers |= dict.fromkeys(FILLING, answer)
    assert await peer.send(ours.server_name, newest) == {newest.event_id: None}
    assert await ours.stored(newest.event_id) is not None
    assert await ours.stored(missed.event_id) is not None or peer.asked_for("state_ids")


async def test_a_server_that_never_can_is_not_asked_for_ever(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom
) -> None:
    room.say(peer.user("alice"), "what was missed")
    newest = room.say(peer.user("alice"), "the newest")
    peer.answers |= dict.fromkeys(FILLING, failing(peer, 1_000))
    verdicts = await peer.send(ours.server_name, newest)
    assert "cannot be had" in (verdicts[newest.event_id] or "")
    assert len(peer.asked_for("state_ids")) == 4
    assert await ours.stored(newest.event_id) is None


async def test_a_server_that_refuses_is_not_asked_again(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom
) -> None:
    room.say(peer.user("alice"), "what was missed")
    newest = room.say(peer.user("alice"), "the newest")
    refusal = lambda _: web.json_response({"errcode": "M_FORBIDDEN", "error": "no"}, status=403)  # noqa: E731
    peer.answers |= dict.fromkeys(FILLING, refusal)
    verdicts = await peer.send(ours.server_name, newest)
    assert "cannot be had" in (verdicts[newest.event_id] or "")
    assert len(peer.asked_for("state_ids")) == 1
