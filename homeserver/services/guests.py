"""Where guests may be: only in rooms whose m.room.guest_access lets them in.

Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

from __future__ import annotations

import logging

from homeserver.core.errors import MatrixError, guest_access_forbidden
from homeserver.core.visibility import GUEST_ACCESS
from homeserver.services.background import BackgroundWork
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import accounts, guest_rooms, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

AT_ONCE = 20
"""How many guests leave a room before it is looked at again."""

GATHER_S = 0.5


async def check_lets_in(tx: Transaction, states: RoomStates, room: Room, user_id: str) -> None:
    """Raises M_GUEST_ACCESS_FORBIDDEN for a guest of ours in a room that lets no guests in.

    "Servers MUST only allow guest users to join rooms if the `m.room.guest_access` state event is present on the room, and has the
    `guest_access` value `can_join`."
    """
    account = await accounts.get(tx, user_id)
    if account is not None and account.is_guest and not await _lets_guests_in(tx, states, room):
        raise guest_access_forbidden("This room does not let guests in")


async def _lets_guests_in(tx: Transaction, states: RoomStates, room: Room) -> bool:
    event = await states.event(tx, room.current_state, *GUEST_ACCESS)
    return event is not None and event.content.get("guest_access") == "can_join"


class GuestAccess:
    """Has guests leave rooms that let them in no longer: in the background, also after a restart.

    "If the `m.room.guest_access` event is changed to stop this from being the case, the server MUST set those users'
    `m.room.member` state to `leave`."
    """

    def __init__(
        self, database: Database, states: RoomStates, timeline: Timeline, identity: Identity
    ) -> None:
        self._database = database
        self._states = states
        self._timeline = timeline
        self._identity = identity
        self.work = BackgroundWork("guest access", self._piece, gather_s=GATHER_S)

    def committed(self, news: Committed) -> None:
        """Something was stored: what is looked at is marked where a room's state changes."""
        if news.moves_state:
            self.work.wake()

    async def _piece(self) -> bool:
        """Have some guests leave a room; whether there may be more to do."""
        marked = await self._database.read(guest_rooms.next_marked)
        if marked is None:
            return False
        room_id, guests = await self._database.read(lambda tx: self._to_leave(tx, marked[0]))
        left = [await self._leave(room_id, user_id) for user_id in guests]
        if len(guests) < AT_ONCE or not any(left):
            await self._database.write(lambda tx: guest_rooms.unmark(tx, *marked))
        return True

    async def _to_leave(self, tx: Transaction, room_nid: int) -> tuple[str, list[str]]:
        room = (await rooms.by_nids(tx, [room_nid]))[room_nid]
        if await _lets_guests_in(tx, self._states, room):
            return room.room_id, []
        return room.room_id, await guest_rooms.guests_in(tx, room_nid, self._identity.server_name, AT_ONCE)

    async def _leave(self, room_id: str, user_id: str) -> bool:
        content = {"membership": "leave", "reason": "This room does not let guests in any more"}
        try:
            await self._timeline.send(room_id, Draft(user_id, "m.room.member", content, user_id))
        except MatrixError as refused:
            log.warning("the guest %s cannot leave %s: %s", user_id, room_id, refused.message)
            return False
        return True
