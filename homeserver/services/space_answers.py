"""Telling other servers of spaces that our server is in.

Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import not_found
from homeserver.services.identity import Identity
from homeserver.services.room_state import RoomStates
from homeserver.services.room_summaries import children_of, local_summaries, server_may_know
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room


class SpaceAnswers:
    """Gives the summaries of a space and its children to servers that could join or read them."""

    def __init__(self, database: Database, states: RoomStates, identity: Identity) -> None:
        """All that is needed is stored."""
        self._database = database
        self._states = states
        self._server_name = identity.server_name

    async def hierarchy(self, origin: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """The room with its direct children, as far as `origin` could peek into them or join them.

        Raises M_NOT_FOUND: "The room is not known to the server or the requesting server is unable to peek/join it".
        """
        return await self._database.read(lambda tx: self._answer(tx, origin, room_id, suggested_only))

    async def _answer(
        self, tx: Transaction, origin: str, room_id: str, suggested_only: bool
    ) -> dict[str, Any]:
        states, ours = self._states, self._server_name
        here = await self._here(tx, [room_id])
        found = await local_summaries(tx, states, here)
        if not found or not await server_may_know(tx, states, found[0], origin, ours):
            raise not_found("Room does not exist, or your server could not join it")
        children = await children_of(tx, states, found[0], suggested_only=suggested_only)
        shown, inaccessible = [], []
        for summary in await local_summaries(
            tx, states, await self._here(tx, [child.room_id for child in children])
        ):
            may_know = await server_may_know(tx, states, summary, origin, ours)
            if may_know:
                shown.append(summary.entry)
            elif may_know is False:
                inaccessible.append(summary.entry["room_id"])
        stripped = [child.stripped for child in children]
        return {
            "room": {**found[0].entry, "children_state": stripped},
            "children": shown,
            "inaccessible_children": inaccessible,
        }

    async def _here(self, tx: Transaction, room_ids: list[str]) -> list[Room]:
        """Those of the rooms that our server is in, in the order given."""
        known = await rooms.get_many(tx, room_ids)
        joined = await memberships.rooms_of_server(
            tx, self._server_name, [room.room_nid for room in known.values()]
        )
        found = [known[room_id] for room_id in room_ids if room_id in known]
        return [room for room in found if room.room_nid in joined]
