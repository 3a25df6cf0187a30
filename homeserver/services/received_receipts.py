"""Receipts that other servers send of their users.

Spec: https://spec.matrix.org/v1.19/server-server-api/#receipts
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.core.receipts import Read, read_receipt_edu
from homeserver.services.notifier import Committed
from homeserver.services.peer_access import acl_refusal
from homeserver.services.receipts import keep_later
from homeserver.services.room_state import RoomStates
from homeserver.services.user_writes import UserWrites
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage import receipts as stored_receipts
from homeserver.storage.database import Transaction
from homeserver.storage.receipts import StoredReceipt
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

MAX_RECEIPTS: Final = 500
"""Of one EDU; what is beyond is ignored, and told again with the user's next receipt."""

MAX_KEPT: Final = 1_000
"""How many receipts a user of another server may have in a room: its server may invent threads."""


class ReceivedReceipts:
    """Takes m.receipt EDUs."""

    def __init__(self, writes: UserWrites, states: RoomStates) -> None:
        """`states`: where the rooms' server ACLs are."""
        self._writes = writes
        self._states = states

    async def take(self, origin: str, content: Mapping[str, Any]) -> None:
        """Keep the receipts of an EDU that are of joined users of the server `origin`, and newer than what we have.

        "all receipts for a particular room ID MUST be ignored if the sending server is denied access to the room".
        """
        by_room: dict[str, list[Read]] = {}
        for read in read_receipt_edu(origin, content, MAX_RECEIPTS):
            by_room.setdefault(read.room_id, []).append(read)
        if not by_room:
            log.info("%s sent an m.receipt EDU without any valid receipt", origin)
            return

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            kept: list[StoredReceipt] = []
            for room in (await rooms.get_many(tx, by_room)).values():
                if await acl_refusal(tx, self._states, room, origin) is None:
                    kept += await _keep(tx, room, by_room[room.room_id])
            if not kept:
                return None, None
            return None, Committed(kept[-1].position, frozenset(stored.read.room_id for stored in kept))

        await self._writes.run(work)


async def _keep(tx: Transaction, room: Room, reads: Sequence[Read]) -> list[StoredReceipt]:
    """Keep what may be kept of a room's receipts; returns it."""
    users = {read.user_id for read in reads}
    members = await memberships.of_users(tx, room.room_nid, users)
    known = await stored_events.known(tx, {read.event_id for read in reads})
    offered: list[tuple[Read, int | None]] = []
    for read in reads:
        event = known.get(read.event_id)
        if members.get(read.user_id) == "join" and (event is None or event.room_nid == room.room_nid):
            offered.append((read, event.position if event else None))
    kept = await keep_later(tx, room, offered)
    await stored_receipts.forget_oldest(tx, room.room_nid, {stored.read.user_id for stored in kept}, MAX_KEPT)
    return kept
