"""The published room directory: which rooms are in it, and what it says of them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from homeserver.core.errors import forbidden, invalid_param, not_found
from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import is_valid_mxc, is_valid_room_alias, is_valid_server_name
from homeserver.core.requester import Requester
from homeserver.core.topics import plain_topic
from homeserver.core.visibility import HistoryVisibility
from homeserver.services.directory import may_set_aliases
from homeserver.services.identity import Identity
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

DEFAULT_LIMIT = 100
MAX_LIMIT = 500

CREATE: StateKey = ("m.room.create", "")
NAME: StateKey = ("m.room.name", "")
TOPIC: StateKey = ("m.room.topic", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")
AVATAR: StateKey = ("m.room.avatar", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")
VISIBILITY: StateKey = ("m.room.history_visibility", "")
GUESTS: StateKey = ("m.room.guest_access", "")
SHOWN = (CREATE, NAME, TOPIC, ALIAS, AVATAR, JOIN_RULES, VISIBILITY, GUESTS)

_TOKEN = re.compile(r"([rb])(\d{1,9})")
"""A place between rooms of the list, and whether it goes on to those after it or back to those before it: "The direction of
pagination is specified solely by which token is supplied"."""


@dataclass(frozen=True, slots=True)
class RoomsQuery:
    """What is asked of a directory. room_types: None for all; None within it for rooms without a type."""

    limit: int | None = None
    since: str | None = None
    search: str | None = None
    room_types: tuple[str | None, ...] | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it depends on what a room is whether it is asked for."""
        return bool(self.search) or self.room_types is not None


class RoomsFilter(Struct):
    """Which rooms; `room_types` may hold null, for rooms without a type."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class SearchBody(Struct):
    """The body of a search for rooms, the same from clients and from servers."""

    limit: Annotated[int, Meta(ge=0)] | None = None
    since: str | None = None
    filter: RoomsFilter | None = None
    include_all_networks: bool | None = None
    third_party_instance_id: str | None = None

    def query(self) -> RoomsQuery:
        """What is asked for."""
        wanted = self.filter or RoomsFilter()
        return RoomsQuery(
            self.limit,
            self.since,
            wanted.generic_search_term,
            None if wanted.room_types is None else tuple(wanted.room_types),
            include_all_networks=bool(self.include_all_networks),
            third_party_instance_id=self.third_party_instance_id,
        )


class RemoteRooms(Protocol):
    """Asks other servers for their directories."""

    async def public_rooms(self, server: str, query: RoomsQuery) -> dict[str, Any]:
        """A page in the form for clients. Raises MatrixError that says why the server could not be asked."""
        ...


class PublicRooms:
    """The rooms that this server publishes, and those that others do."""

    def __init__(
        self, database: Database, states: RoomStates, identity: Identity, remote: RemoteRooms
    ) -> None:
        """The directories of other servers are asked for through `remote`."""
        self._database = database
        self._states = states
        self._identity = identity
        self._remote = remote

    async def page(self, server: str | None, query: RoomsQuery) -> dict[str, Any]:
        """A page of a server's directory, ours when none is named. Raises M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
        """
        if query.include_all_networks and query.third_party_instance_id is not None:
            raise invalid_param("third_party_instance_id can only be used if include_all_networks is false")
        if server is None or server == self._identity.server_name:
            return await self.local_page(query)
        if not is_valid_server_name(server):
            raise invalid_param(f"{server[:300]!r} is not a server name")
        return await self._remote.public_rooms(server, query)

    async def local_page(self, query: RoomsQuery) -> dict[str, Any]:
        """A page of our directory, the rooms with the most members first. Raises M_INVALID_PARAM."""
        if query.third_party_instance_id is not None:
            # Told instead of answered with an empty page, which would say that there is such a network, without rooms.
            raise invalid_param(
                f"This server bridges no third-party network {query.third_party_instance_id[:100]!r}: leave out"
                " third_party_instance_id"
            )
        # A limit of 0 is none, as Synapse has it: pages without rooms would lead nowhere.
        limit = min(query.limit or DEFAULT_LIMIT, MAX_LIMIT)
        part = _part(query.since, limit)
        chunk, total = await self._database.read(lambda tx: self._page(tx, query, part))
        answer: dict[str, Any] = {"chunk": chunk, "total_room_count_estimate": total}
        if part.stop < total:
            answer["next_batch"] = f"r{part.stop}"
        if part.start > 0:
            answer["prev_batch"] = f"b{part.start}"
        return answer

    async def is_published(self, room_id: str) -> bool:
        """Whether a room is in our directory. Raises M_NOT_FOUND."""
        return (await self._database.read(lambda tx: _room(tx, room_id))).published

    async def publish(self, requester: Requester, room_id: str, is_published: bool) -> None:
        """Put a room into our directory, or take it out.

        Members who may set the room's canonical alias may, and administrators of the server. Raises M_NOT_FOUND, M_FORBIDDEN.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
        """

        async def work(tx: Transaction) -> None:
            room = await _room(tx, room_id)
            if not requester.is_admin and not await may_set_aliases(
                tx, self._states, room, requester.user_id
            ):
                raise forbidden("Publishing a room needs the power level to set its canonical alias")
            await rooms.set_published(tx, room.room_nid, is_published)

        await self._database.write(work)

    async def _page(
        self, tx: Transaction, query: RoomsQuery, part: slice
    ) -> tuple[list[dict[str, Any]], int]:
        """A part of the rooms that are asked for, and how many these are. Only what they say of themselves is looked through for
        a search; else no more is read than is shown."""
        listed = await rooms.published(tx)
        nids = [room.room_nid for room in listed]
        # What we know of rooms that we have left is out of date.
        ours = await memberships.rooms_of_server(tx, self._identity.server_name, nids)
        joined = await memberships.joined_counts(tx, ours)
        listed = [room for room in listed if room.room_nid in ours]
        listed.sort(key=lambda room: (-joined.get(room.room_nid, 0), room.room_id))
        if not query.is_narrow:
            return await self._entries(tx, listed[part], joined), len(listed)
        wanted = [entry for entry in await self._entries(tx, listed, joined) if _matches(entry, query)]
        return wanted[part], len(wanted)

    async def _entries(
        self, tx: Transaction, listed: Sequence[Room], joined: Mapping[int, int]
    ) -> list[dict[str, Any]]:
        ids = [await self._states.ids(tx, room.current_state, SHOWN) for room in listed]
        found = await stored_events.load_accepted(
            tx, [event_id for entry in ids for event_id in entry.values()]
        )
        return [
            room_entry(
                room,
                joined.get(room.room_nid, 0),
                {key: found[event_id] for key, event_id in entry.items() if event_id in found},
            )
            for room, entry in zip(listed, ids, strict=True)
        ]


async def _room(tx: Transaction, room_id: str) -> Room:
    room = await rooms.get(tx, room_id)
    if room is None:
        raise not_found("Room not found")
    return room


def room_entry(room: Room, joined: int, state: Mapping[StateKey, Event]) -> dict[str, Any]:
    """What the directory, and a summary, says of a room; what is not of its form is left out. state: the entries SHOWN."""
    content = {key: event.content for key, event in state.items()}
    guests = content.get(GUESTS, {}).get("guest_access")
    entry: dict[str, Any] = {
        "room_id": room.room_id,
        "num_joined_members": joined,
        "world_readable": HistoryVisibility.of(content.get(VISIBILITY)) is HistoryVisibility.WORLD_READABLE,
        "guest_can_join": guests == "can_join",
    }
    alias = content.get(ALIAS, {}).get("alias")
    avatar = content.get(AVATAR, {}).get("url")
    described = {
        "name": content.get(NAME, {}).get("name"),
        # "Omitted if no `text/plain` mimetype exists in m.room.topic."
        "topic": plain_topic(content.get(TOPIC, {})),
        "canonical_alias": alias if is_valid_room_alias(alias) else None,
        "avatar_url": avatar if is_valid_mxc(avatar) else None,
        "join_rule": content.get(JOIN_RULES, {}).get("join_rule"),
        "room_type": content.get(CREATE, {}).get("type"),
    }
    entry.update((key, value) for key, value in described.items() if isinstance(value, str) and value)
    return entry


def _matches(entry: Mapping[str, Any], query: RoomsQuery) -> bool:
    if query.room_types is not None and entry.get("room_type") not in query.room_types:
        return False
    if not query.search:
        return True
    term = query.search.casefold()
    return any(term in entry.get(name, "").casefold() for name in ("name", "topic", "canonical_alias"))


def _part(since: str | None, limit: int) -> slice:
    """Which rooms of the list belong to a page."""
    if not since:
        return slice(0, limit)
    match = _TOKEN.fullmatch(since)
    if match is None:
        raise invalid_param(f"{since[:60]!r} is not a token that this server's room directory gave")
    place = int(match[2])
    return slice(place, place + limit) if match[1] == "r" else slice(max(0, place - limit), place)
