"""The members of a room, as its members are told them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from homeserver.core.events import Event
from homeserver.core.requester import Requester
from homeserver.core.state_map import Digest
from homeserver.core.stream_tokens import Place, parse_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import Access, access, joined_room
from homeserver.services.reached import check_reached
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction

MEMBER = "m.room.member"
EVERY_MEMBERSHIP = ("join", "invite", "knock", "leave", "ban")


class Members:
    """Lists the members of rooms."""

    def __init__(self, database: Database, states: RoomStates, events: ClientEvents) -> None:
        """`events` brings member events in the form for clients."""
        self._database = database
        self._states = states
        self._events = events

    async def events(
        self,
        requester: Requester,
        room_id: str,
        *,
        at: str | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> list[msgspec.Raw]:
        """The m.room.member events of the room now, or at a token of ours; for one who has left, as they were then.

        "either the membership *is* the same as `membership` **or** *is not* the same as `not_membership`."
        Raises M_FORBIDDEN, M_INVALID_PARAM for a token that is not ours.
        """
        place = parse_token(at) if at else None
        kinds = _wanted(membership, not_membership)

        async def work(tx: Transaction) -> list[msgspec.Raw]:
            may = await access(tx, self._states, room_id, requester.user_id)
            if place is None and may.until is None:
                now = await memberships.of_room(tx, may.room.room_nid, kinds)
                ids: Iterable[str] = [member.event_id for member in now]
            else:
                root = await self._state_at(tx, may, place)
                ids = await self._member_ids(tx, root)
            found = await stored_events.load_accepted(tx, list(ids))
            return await self._events.state(
                tx, [event for event in found.values() if event.membership in kinds]
            )

        return await self._database.read(work)

    async def joined(self, requester: Requester, room_id: str) -> dict[str, dict[str, Any]]:
        """The joined users and their profiles in the room. Raises M_FORBIDDEN unless the requester is one of them."""

        async def work(tx: Transaction) -> dict[str, dict[str, Any]]:
            room = await joined_room(tx, room_id, requester.user_id)
            now = await memberships.of_room(tx, room.room_nid, ("join",))
            found = await stored_events.load_accepted(tx, [member.event_id for member in now])
            return {
                member.user_id: _profile(found[member.event_id]) for member in now if member.event_id in found
            }

        return await self._database.read(work)

    async def _member_ids(self, tx: Transaction, root: Digest) -> list[str]:
        return list((await self._states.ids_of_type(tx, root, MEMBER)).values())

    async def _state_at(self, tx: Transaction, may: Access, place: Place | int | None) -> Digest:
        """The state at a place, but no later than the user may see."""
        if place is None:
            return may.state
        if isinstance(place, int):
            await check_reached(tx, place)
            position = place if may.until is None else min(place, may.until)
            return await rooms.state_at_position(tx, may.room.room_nid, position)
        before = await stored_events.page(tx, may.room.room_nid, start=place, backwards=True, limit=1)
        if not before:
            first = await stored_events.page(tx, may.room.room_nid, start=place, backwards=False, limit=1)
            return may.state if not first or first[0].state_before is None else first[0].state_before
        if before[0].state_after is None:
            return may.state
        if may.until is not None and (before[0].position or 0) > may.until:
            return may.state
        return before[0].state_after


def _wanted(membership: str | None, not_membership: str | None) -> tuple[str, ...]:
    if membership is None and not_membership is None:
        return EVERY_MEMBERSHIP
    return tuple(
        kind
        for kind in EVERY_MEMBERSHIP
        if kind == membership or (not_membership is not None and kind != not_membership)
    )


def _profile(event: Event) -> dict[str, Any]:
    """What the member event says of its user, as far as it is text."""
    profile = {}
    for name, key in (("displayname", "display_name"), ("avatar_url", "avatar_url")):
        if isinstance(event.content.get(name), str):
            profile[key] = event.content[name]
    return profile
