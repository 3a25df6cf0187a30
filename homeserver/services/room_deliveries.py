"""Which servers are told of what a unit of work did to a room's graph: the rows of the outbox.

Runs inside the unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_server_name
from homeserver.services.event_store import DUMMY_EVENT
from homeserver.storage import expelled_servers, memberships, outbox
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent
from homeserver.storage.memberships import MembersMoved


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What a unit of work did to a room, as far as other servers have to know.

    position: the last that it took. added: the new events. nids: their numbers, and those of `ends`. relayed: the new events
    that we send on, each with the servers that need not be sent it. ends: the forward extremities now. moved: the servers that
    have come into the room and gone out of it. told: the servers that each new event is sent to besides, because it ends a
    membership there; known for the relayed ones, and for all when servers have gone.
    """

    room_nid: int
    position: int
    added: Mapping[str, NewEvent]
    nids: Mapping[str, int]
    relayed: Mapping[str, frozenset[str]]
    ends: Mapping[str, Event]
    moved: MembersMoved
    told: Mapping[str, frozenset[str]]


async def deliver(tx: Transaction, server_name: str, done: Deliveries) -> tuple[frozenset[str], bool]:
    """Put into the outbox what other servers are to be sent; server_name: ours.

    Returns these servers, and whether one of them is out of the room by nothing but a resolution: then an event should join the
    ends, because a server that has them may have resolved them in another order, and so with another result.
    """
    wanted: dict[str, set[str]] = {}
    if done.relayed:
        # Those in the room before and after the events.
        servers = {*await memberships.joined_servers(tx, done.room_nid), *done.moved.gone}
        for event_id, left_out in done.relayed.items():
            wanted[event_id] = (servers | done.told[event_id]) - left_out
            if done.added[event_id].event.type == DUMMY_EVENT:
                wanted[event_id].update(await expelled_servers.untold(tx, done.room_nid))
                await expelled_servers.set_told(tx, done.room_nid, done.position)
    for event_id in _ends_for_newcomers(server_name, done):
        wanted.setdefault(event_id, set()).update(done.moved.came)
    expelled = _expelled(done) - {server_name}
    if expelled:
        await expelled_servers.put(tx, done.room_nid, expelled, done.position)
        for event_id in done.ends:
            wanted.setdefault(event_id, set()).update(expelled)
    if done.moved.came:
        await expelled_servers.remove(tx, done.room_nid, done.moved.came)
    queued: set[str] = set()
    for event_id, destinations in wanted.items():
        destinations.discard(server_name)
        if destinations:
            await outbox.add(tx, destinations, done.nids[event_id])
            queued |= destinations
    return frozenset(queued), bool(expelled)


def _ends_for_newcomers(server_name: str, done: Deliveries) -> list[str]:
    """The ends of the graph that servers which have just joined are told of.

    What was sent while they joined is neither before their join, which they know, nor was it sent to them. Whom we have let in we
    tell of all that we know; else each server tells of its own events.
    """
    if not done.moved.came:
        return []
    return [
        event_id
        for event_id, event in done.ends.items()
        if event_id not in done.added and (done.relayed or event.sender_domain == server_name)
    ]


def _expelled(done: Deliveries) -> set[str]:
    """The servers that are out of the room though no new event ends the membership of each of their users: because of a fork,
    states were resolved, and their joins did not hold. Nobody else may tell them."""
    if not done.moved.gone:
        return set()
    ended = {
        new.event.state_key
        for event_id, new in done.added.items()
        if new.status is EventStatus.ACCEPTED and done.told[event_id]
    }
    servers = {user_id.partition(":")[2] for user_id in done.moved.leavers - ended}
    return {server for server in servers & done.moved.gone if is_valid_server_name(server)}
