"""What our users are in rooms that they know from outside: who is invited, who knocks, and what ended it.

A room's graph says who its members are only while a user of ours is in it. Before and after, other servers tell us of invites,
and we remember our own knocks, here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.events import Event
from homeserver.core.state_map import EMPTY
from homeserver.services.notifier import Arrival, Committed
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, out_of_room, positions, rooms, untold_leaves
from homeserver.storage.database import Transaction
from homeserver.storage.events import NewEvent
from homeserver.storage.out_of_room import OutOfRoom
from homeserver.storage.untold_leaves import UntoldLeave

ASKING = ("invite", "knock")
"""The memberships that wait for an answer."""


class OutsideRooms:
    """Keeps the memberships from outside, and tells /sync of them."""

    def __init__(self, writes: RoomWrites, server_name: str) -> None:
        """All writes go through `writes`; `server_name` is ours."""
        self._writes = writes
        self._server_name = server_name

    async def get(self, user_id: str, room_id: str) -> OutOfRoom | None:
        """What the user is in the room, if nobody keeps the room's graph up to date here or it does not say."""
        return await self._writes.read(lambda tx: self._standing(tx, user_id, room_id))

    async def invited(self, event: Event, told: Sequence[Mapping[str, Any]], via: str) -> None:
        """Keep an invite. told: stripped state events of the room. An invite that came before changes nothing."""

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            user_id = event.state_key or ""
            before = await self._standing(tx, user_id, event.room_id)
            if before is not None and _follows_on(before.event, event):
                return None, None
            if event.event_id in await stored_events.known(tx, [event.event_id]):
                return None, None  # the room's graph has it, with all that came after
            return None, await _put(tx, event, "invite", told, via)

        await self._writes.run(event.room_id, work)

    async def knocked(
        self, event: Event, told: Sequence[Mapping[str, Any]], via: str, before: OutOfRoom | None
    ) -> None:
        """Keep a knock that a server in the room has taken, unless its answer was faster.

        before: what the user was when the knock was begun.
        """

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            now = await self._standing(tx, event.sender, event.room_id)
            if now is not None and (before is None or now.position != before.position):
                return None, None
            return None, await _put(tx, event, "knock", told, via)

        await self._writes.run(event.room_id, work)

    async def ended(self, record: OutOfRoom, event: Event, *, told_later_at: int | None = None) -> bool:
        """Keep that an invite or a knock is over: withdrawn, refused or answered with a ban. False when it was over already.

        told_later_at: when the servers in the room are to be told (milliseconds), which could not be reached.
        """

        async def work(tx: Transaction) -> tuple[bool, Committed | None]:
            now = await self._standing(tx, record.user_id, record.room_id)
            if now is None or now.position != record.position or now.membership not in ASKING:
                return False, None
            membership = event.membership or "leave"
            if told_later_at is not None:
                leave = UntoldLeave(now.user_id, now.room_id, event.event_id, 1, told_later_at)
                await untold_leaves.put(tx, leave)
            return True, await _put(tx, event, membership, now.stripped_state, now.via, now.user_id)

        return await self._writes.run(record.room_id, work)

    async def servers(self, record: OutOfRoom) -> list[str]:
        """The servers that may be in the room: the one we heard of it from, the sender's, and those of an earlier stay."""

        async def work(tx: Transaction) -> list[str]:
            room = await rooms.get(tx, record.room_id)
            return await memberships.joined_servers(tx, room.room_nid) if room else []

        maker = [record.room_id.partition(":")[2]] if ":" in record.room_id else []
        earlier = await self._writes.read(work)
        return list(dict.fromkeys([record.via, record.event.sender_domain, *earlier, *maker]))

    async def _standing(self, tx: Transaction, user_id: str, room_id: str) -> OutOfRoom | None:
        record = await out_of_room.get(tx, user_id, room_id)
        room = await rooms.get(tx, room_id) if record is None else None
        if room is None or await memberships.is_server_joined(tx, room.room_nid, self._server_name):
            return record
        # An invite or a knock that was there when the last of us left: what became of it the graph does not learn.
        last = await memberships.get(tx, room.room_nid, user_id)
        stored = await stored_events.get(tx, last.event_id) if last and last.membership in ASKING else None
        if last is None or stored is None:
            return None
        via = stored.event.sender_domain
        return OutOfRoom(user_id, room_id, last.membership, stored.event, (), via, last.position)


def _follows_on(later: Event, event: Event) -> bool:
    """Whether an event is another one, or what became of it."""
    return event.event_id in (later.event_id, *later.prev_event_ids, *later.auth_event_ids)


async def _put(
    tx: Transaction,
    event: Event,
    membership: str,
    told: Sequence[Mapping[str, Any]],
    via: str,
    user_id: str | None = None,
) -> Committed:
    user_id = user_id or event.state_key or event.sender
    position = await positions.take(tx)
    await out_of_room.put(tx, OutOfRoom(user_id, event.room_id, membership, event, told, via, position))
    arrived = (stored_events.as_stored(NewEvent(event, position), 0, 0),)
    arrivals = (Arrival(None, EMPTY, EMPTY, arrived),) if membership == "invite" else ()
    users = frozenset({user_id})
    return Committed(position, users=users, arrivals=arrivals, read=frozenset() if arrivals else users)
