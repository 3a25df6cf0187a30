"""Events whose past never ends: what we ask of their server is bounded, and the outcome has a name."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from homeserver.services.event_intake import REQUESTS_A_PDU, REQUESTS_A_TRANSACTION
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import Asked, FederationPeer, PeerRoom

FILLING = ("get_missing_events", "state_ids", "state", "event", "event_auth")


def asked(peer: FederationPeer) -> int:
    """How many requests the peer was sent to fill gaps."""
    return sum(len(peer.asked_for(endpoint)) for endpoint in FILLING)


def given_up() -> float:
    """How many events have been given up so far."""
    return REGISTRY.get_sample_value("homeserver_event_gaps_given_up_total") or 0


def one_by_one(peer: FederationPeer) -> Callable[[Asked], Any]:
    """Tells of one missing event a request."""

    def answer(request: Asked) -> Any:
        return {"events": peer.honest(request)["events"][-1:]}

    return answer


def unheard_of(count: int) -> Callable[[Asked], Any]:
    """A state whose events nobody has."""
    ids = [f"$unheard_of_{number:030}" for number in range(count)]
    return lambda _: {"pdu_ids": ids, "auth_chain_ids": []}


async def test_a_past_that_never_ends(ours: FederatingServer, peer: FederationPeer, room: PeerRoom) -> None:
    for number in range(60):
        room.say(peer.user("alice"), f"message {number}")
    newest = room.say(peer.user("alice"), "the newest")
    peer.answers["get_missing_events"] = one_by_one(peer)
    # The state before the oldest that is told of is had, and so the rest follows.
    assert await peer.send(ours.server_name, newest) == {newest.event_id: None}
    assert asked(peer) <= REQUESTS_A_PDU
    assert await ours.stored(newest.event_id) is not None


@pytest.mark.parametrize("unknown", [8, 500])
async def test_a_past_and_a_state_that_cannot_be_had(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom, unknown: int
) -> None:
    for number in range(60):
        room.say(peer.user("alice"), f"message {number}")
    newest = room.say(peer.user("alice"), "the newest")
    peer.answers |= {"get_missing_events": one_by_one(peer), "state_ids": unheard_of(unknown)}
    before = given_up()
    answers = await peer.send(ours.server_name, newest)
    assert (answers[newest.event_id] or "").startswith("Not accepted: ")
    assert asked(peer) <= REQUESTS_A_PDU
    assert given_up() > before
    assert await ours.stored(newest.event_id) is None


async def test_a_state_with_many_events_that_nobody_has(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom
) -> None:
    start = list(room.heads)
    hidden = [room.say(peer.user("alice"), f"branch {number}", after=start) for number in range(3)]
    newest = room.say(peer.user("alice"), "the newest", after=[each.event_id for each in hidden])
    room.say(peer.user("alice"), "another", after=start)

    def states(request: Asked) -> Any:
        honest = peer.honest(request)
        ids = [f"$unheard_of_{number:030}" for number in range(REQUESTS_A_PDU)]
        return {**honest, "pdu_ids": [*honest["pdu_ids"], *ids]}

    peer.answers |= {
        "get_missing_events": lambda _: {"events": []},
        "state_ids": states,
        "state": lambda _: {"pdus": [], "auth_chain": []},
    }
    answers = await peer.send(ours.server_name, newest)
    assert asked(peer) <= REQUESTS_A_PDU
    assert answers[newest.event_id] is None  # what is known of the state is enough


async def test_a_transaction_has_its_bound_too(
    ours: FederatingServer, peer: FederationPeer, room: PeerRoom
) -> None:
    start = list(room.heads)
    sent = []
    for number in range(30):
        room.say(peer.user("alice"), f"hidden {number}", after=start)
        sent.append(room.say(peer.user("alice"), f"shown {number}", after=[room.heads[-1]]))
    peer.answers |= {"get_missing_events": lambda _: {"events": []}, "state_ids": unheard_of(8)}
    answers = await peer.send(ours.server_name, *sent)
    assert asked(peer) <= REQUESTS_A_TRANSACTION
    assert all((answers[event.event_id] or "").startswith("Not accepted: ") for event in sent)
    told = f"filling the gaps before it takes more than {REQUESTS_A_TRANSACTION} requests"
    assert any(told in (answer or "") for answer in answers.values())
