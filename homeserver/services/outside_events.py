"""Events of rooms that we are not in, which other servers send all the same: what ends an invite or a knock of a user of ours.

We cannot judge such an event, for we do not know the room's state. It is believed when its sender's server signed it and it
names the invite or the knock among its auth events, whose ID only servers in the room (and the inviter) know.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event, parse_pdu
from homeserver.core.identifiers import is_valid_user_id
from homeserver.services.identity import Identity
from homeserver.services.outside_rooms import ASKING, OutsideRooms
from homeserver.services.received_events import ReceivedEvents
from homeserver.storage.out_of_room import OutOfRoom

log = logging.getLogger(__name__)

ENDING = ("leave", "ban")


class OutsideEvents:
    """Takes what ends invites and knocks."""

    def __init__(self, received: ReceivedEvents, outside: OutsideRooms, identity: Identity) -> None:
        """`received` checks signatures."""
        self._received = received
        self._outside = outside
        self._identity = identity

    async def take(self, origin: str, room_id: str, pdus: Sequence[Any]) -> set[str]:
        """Handle events of a room that we are not in; returns the IDs of those that told us something."""
        taken = set()
        for pdu in pdus:
            user_id = pdu.get("state_key") if isinstance(pdu, dict) else None
            if not isinstance(user_id, str) or not is_valid_user_id(user_id):
                continue
            record = await self._outside.get(user_id, room_id) if self._identity.is_ours(user_id) else None
            if record is None or record.membership not in ASKING:
                continue
            event = await self._ending(record, pdu)
            if event is not None and await self._outside.ended(record, event):
                log.info(
                    "%s says that the %s of %s is over: %s",
                    origin,
                    record.membership,
                    user_id,
                    event.event_id,
                )
                taken.add(event.event_id)
        return taken

    async def _ending(self, record: OutOfRoom, pdu: Any) -> Event | None:
        """The event, if it ends the user's invite or knock."""
        try:
            event = parse_pdu(pdu, record.event.rules, room_id=record.room_id)
        except InvalidEvent:
            return None
        if event.type != "m.room.member" or event.state_key != record.user_id:
            return None
        if event.membership not in ENDING or record.event.event_id not in event.auth_event_ids:
            return None
        received = await self._received.verify([event])
        return received.events.get(event.event_id)
