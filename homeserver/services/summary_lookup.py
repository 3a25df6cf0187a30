"""Finding out what a room is, for a user who need not be in it: from our own state, or else from other servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeserver.core.identifiers import is_valid_room_id
from homeserver.services.identity import Identity
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.room_state import RoomStates
from homeserver.services.room_summaries import Summary, children_of, local_summaries, user_may_know
from homeserver.storage import memberships, out_of_room, rooms
from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Found:
    """A room that the user may know of.

    membership: what the user is in it, as far as we know. told: what was said of its children, by room ID. inaccessible: children
    that our server cannot have, wherever it asks.
    """

    summary: Summary
    membership: str | None = None
    told: Mapping[str, Summary] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A room that our server is not in. servers: those that may be."""

    membership: str | None
    servers: tuple[str, ...]


class SummaryLookup:
    """Looks rooms up."""

    def __init__(
        self, database: Database, states: RoomStates, identity: Identity, remote: RemoteSummaries
    ) -> None:
        """Rooms that our server is not in are asked for through `remote`."""
        self._database = database
        self._states = states
        self._identity = identity
        self._remote = remote

    async def find(
        self,
        user_id: str | None,
        room_id: str,
        via: Sequence[str] = (),
        *,
        suggested_only: bool = False,
        told: Summary | None = None,
    ) -> Found | None:
        """The room with its children; None when there is no such room, or the user (None: anybody) may not know of it.

        via: servers to ask. told: what another server said of it already. Other servers are asked for users of ours alone.
        """
        if not is_valid_room_id(room_id):
            return None
        place = await self._database.read(lambda tx: self._here(tx, user_id, room_id, suggested_only))
        if not isinstance(place, _Elsewhere):
            return place
        if user_id is None:
            return None
        found = await self._there(room_id, (*via, *place.servers), suggested_only, told)
        if found is None:
            return None
        may_know = await self._database.read(
            lambda tx: user_may_know(tx, found.summary, user_id, membership=place.membership)
        )
        return replace(found, membership=place.membership) if may_know else None

    async def _here(
        self, tx: Transaction, user_id: str | None, room_id: str, suggested_only: bool
    ) -> Found | _Elsewhere | None:
        room = await rooms.get(tx, room_id)
        now = await memberships.get(tx, room.room_nid, user_id) if room and user_id else None
        membership = now.membership if now else None
        # What we know of a room that we have left is out of date.
        if room is None or not await memberships.is_server_joined(
            tx, room.room_nid, self._identity.server_name
        ):
            earlier = await memberships.joined_servers(tx, room.room_nid) if room else []
            outside = await out_of_room.get(tx, user_id, room_id) if user_id else None
            maker = [room_id.partition(":")[2]] if ":" in room_id else []
            heard = [outside.via, outside.event.sender_domain] if outside else []
            membership = outside.membership if outside else membership
            return _Elsewhere(membership, (*heard, *earlier, *maker))
        (summary,) = await local_summaries(tx, self._states, [room])
        if user_id is None:
            return Found(summary) if summary.is_open else None
        if not await user_may_know(tx, summary, user_id, membership=membership):
            return None
        children = await children_of(tx, self._states, summary, suggested_only=suggested_only)
        return Found(replace(summary, children=children), membership)

    async def _there(
        self, room_id: str, servers: Sequence[str], suggested_only: bool, told: Summary | None
    ) -> Found | None:
        # Only of a space there is more to know than what was told.
        if told is not None and not told.is_space:
            return Found(told)
        remote = await self._remote.get(room_id, servers, suggested_only=suggested_only)
        if remote is None:
            return Found(told) if told else None
        return Found(remote.summary, None, remote.rooms, remote.inaccessible)
