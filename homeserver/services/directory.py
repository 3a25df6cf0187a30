"""Room aliases: those of this server, and where those of other servers lead.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.core.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.core.identifiers import domain_of, is_valid_room_alias, is_valid_room_id
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.services.event_access import access
from homeserver.services.identity import Identity
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import aliases, memberships, rooms
from homeserver.storage.aliases import Alias
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

CANONICAL_ALIAS = "m.room.canonical_alias"
MAX_SERVERS = 100
"""How many servers are named to join a room by."""


class RemoteAliases(Protocol):
    """Asks other servers where their aliases lead."""

    async def resolve(self, room_alias: str) -> tuple[str, list[str]]:
        """The room ID and servers to join it by. Raises M_NOT_FOUND, M_UNKNOWN (502) when the server cannot be asked."""
        ...


@dataclass(frozen=True, slots=True)
class AliasTarget:
    """The room that an alias names, and servers that are in it; the first of them is ours."""

    room_id: str
    servers: list[str]


class Directory:
    """Keeps our aliases and finds rooms by any alias."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        remote: RemoteAliases,
        identity: Identity,
        clock: Clock,
    ) -> None:
        """Aliases of other servers are looked up by `remote`; `timeline` updates canonical aliases."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._remote = remote
        self._identity = identity
        self._clock = clock

    async def resolve(self, alias: str) -> tuple[str, list[str]]:
        """The room ID of an alias, ours or another server's, and servers to join it by.

        Raises M_INVALID_PARAM, M_NOT_FOUND, M_UNKNOWN (502) when the alias's server cannot be asked.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
        """
        if domain_of(_valid(alias)) != self._identity.server_name:
            return await self._remote.resolve(alias)
        target = await self.local_alias(alias)
        if target is None:
            raise not_found(f"Room alias {alias} not found.")
        return target.room_id, target.servers

    async def local_alias(self, alias: str) -> AliasTarget | None:
        """The room of an alias of this server, and servers that are in it; None when there is no such alias."""
        ours = self._identity.server_name

        async def work(tx: Transaction) -> AliasTarget | None:
            known = await aliases.get(tx, alias)
            if known is None:
                return None
            room = await rooms.get(tx, known.room_id)
            servers = await memberships.joined_servers(tx, room.room_nid) if room else []
            others = [server for server in servers if server != ours]
            return AliasTarget(known.room_id, [ours, *others[: MAX_SERVERS - 1]])

        return await self._database.read(work) if is_valid_room_alias(alias) else None

    async def add(self, requester: Requester, alias: str, room_id: str) -> None:
        """Make an alias of this server for a room that the requester is in.

        Raises M_INVALID_PARAM, M_FORBIDDEN, M_UNKNOWN (409) for an alias that exists.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
        """
        if domain_of(_valid(alias)) != self._identity.server_name:
            raise invalid_param(f"Only aliases that end in :{self._identity.server_name} can be made here")
        if not is_valid_room_id(room_id):
            raise invalid_param(f"{room_id[:300]!r} is not a room ID")

        async def work(tx: Transaction) -> bool:
            room = await rooms.get(tx, room_id)
            mine = await memberships.get(tx, room.room_nid, requester.user_id) if room else None
            if (mine is None or mine.membership != "join") and not requester.is_admin:
                raise forbidden(f"You are not in the room {room_id}: only its members can give it an alias")
            return await aliases.add(tx, Alias(alias, room_id, requester.user_id), self._clock())

        if not await self._database.write(work):
            raise MatrixError("M_UNKNOWN", f"Room alias {alias} already exists.", 409)

    async def remove(self, requester: Requester, alias: str) -> None:
        """Delete an alias of this server, and take it out of the room's canonical aliases where the requester may.

        Whoever made it may, whoever may set the room's canonical alias, and administrators of the server. Raises
        M_INVALID_PARAM, M_NOT_FOUND, M_FORBIDDEN.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
        """
        _valid(alias)

        async def work(tx: Transaction) -> tuple[str, Mapping[str, Any] | None]:
            known = await aliases.get(tx, alias)
            if known is None:
                raise not_found(f"Room alias {alias} not found.")
            room = await rooms.get(tx, known.room_id)
            may_publish = room is not None and await may_set_aliases(
                tx, self._states, room, requester.user_id
            )
            if not (may_publish or requester.is_admin or known.creator == requester.user_id):
                raise forbidden(f"Only who has made {alias}, or moderators of its room, can delete it")
            await aliases.remove(tx, alias)
            current = await self._states.event(tx, room.current_state, CANONICAL_ALIAS) if room else None
            return known.room_id, current.content if current and may_publish else None

        room_id, content = await self._database.write(work)
        remaining = _without(content, alias) if content is not None else None
        if remaining is not None:
            await self._update(requester.user_id, room_id, remaining)

    async def of_room(self, requester: Requester, room_id: str) -> list[str]:
        """The aliases of this server for a room. Raises M_INVALID_PARAM, M_FORBIDDEN.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
        """
        if not is_valid_room_id(room_id):
            raise invalid_param(f"{room_id[:300]!r} is not a room ID")

        async def work(tx: Transaction) -> list[str]:
            may = await access(tx, self._states, room_id, requester.user_id)
            if may.until is not None:
                raise forbidden(f"You are not in the room {room_id} any more")
            return await aliases.of_room(tx, room_id)

        return await self._database.read(work)

    async def check_canonical(
        self, room_id: str, content: Mapping[str, Any], current: Mapping[str, Any]
    ) -> None:
        """See that the aliases that are new in m.room.canonical_alias are valid and point to the room.

        Raises M_INVALID_PARAM, M_BAD_ALIAS.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        before = set(aliases_in(current, strict=False))
        for alias in dict.fromkeys(aliases_in(content, strict=True)):
            if alias in before:
                continue
            try:
                found, _ = await self.resolve(alias)
            except MatrixError as error:
                if error.errcode == "M_INVALID_PARAM":
                    raise
                raise MatrixError(
                    "M_BAD_ALIAS", f"The alias {alias} cannot be found: {error.message}"
                ) from error
            if found != room_id:
                raise MatrixError("M_BAD_ALIAS", f"The alias {alias} does not point to this room.")

    async def _update(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        try:
            await self._timeline.send(room_id, Draft(user_id, CANONICAL_ALIAS, content, ""))
        except MatrixError as refused:
            # "return a successful response even if the user does not have permission to update the
            # `m.room.canonical_alias` event": it may have been taken away a moment ago.
            if refused.errcode != "M_FORBIDDEN":
                raise


async def may_set_aliases(tx: Transaction, states: RoomStates, room: Room, user_id: str) -> bool:
    """Whether a user is in the room and may set its canonical alias: who may, decides on its aliases and publicity too."""
    mine = await memberships.get(tx, room.room_nid, user_id)
    if mine is None or mine.membership != "join":
        return False
    state = await states.events(tx, room.current_state, [CREATE, POWER_LEVELS])
    return CREATE in state and power_levels_of(state).can_send(user_id, CANONICAL_ALIAS, is_state=True)


def _valid(alias: str) -> str:
    if not is_valid_room_alias(alias):
        raise invalid_param("Room alias invalid")
    return alias


def aliases_in(content: Mapping[str, Any], *, strict: bool) -> list[str]:
    """The aliases that a canonical alias event names; what is no alias is M_INVALID_PARAM or, unless `strict`, left out."""
    named = [content["alias"]] if content.get("alias") not in (None, "") else []
    others = content.get("alt_aliases")
    if isinstance(others, list):
        named += others
    elif others is not None and strict:
        raise invalid_param("alt_aliases must be a list of room aliases")
    found = [alias for alias in named if is_valid_room_alias(alias)]
    if strict and len(found) < len(named):
        raise invalid_param("The canonical alias event names something that is not a room alias")
    return found


def _without(content: Mapping[str, Any], alias: str) -> dict[str, Any] | None:
    """The content of a canonical alias event without an alias; None when it does not name it."""
    remaining = dict(content)
    if remaining.get("alias") == alias:
        del remaining["alias"]
    others = remaining.get("alt_aliases")
    if isinstance(others, list) and alias in others:
        remaining["alt_aliases"] = [other for other in others if other != alias]
    return remaining if remaining != content else None
