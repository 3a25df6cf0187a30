"""The threads of a room, the one with the latest event first.

Spec: https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.events import redact
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import Place, newest_place, parse_token, place_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import SeenEvent, access, visible
from homeserver.services.ignored_users import ignored_users
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, positions, relations
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

MAX_READS = 10
"""How often more threads are read when the history visibility let too few through."""


@dataclass(frozen=True, slots=True)
class ThreadsRequest:
    """What a client asks of /threads. participated: only threads in which the user has taken part. start: the token `from`."""

    participated: bool = False
    limit: int | None = None
    start: str | None = None


@dataclass(frozen=True, slots=True)
class _Root:
    event: SeenEvent
    latest: Place


class ThreadsList:
    """Lists threads."""

    def __init__(self, database: Database, states: RoomStates, events: ClientEvents) -> None:
        """`events` brings what is read in the form for clients."""
        self._database = database
        self._states = states
        self._events = events

    async def page(self, requester: Requester, room_id: str, request: ThreadsRequest) -> dict[str, Any]:
        """Thread roots with what their threads come to: `chunk`, `next_batch`.

        Raises M_FORBIDDEN, M_INVALID_PARAM for tokens that are not ours.
        """
        limit = min(DEFAULT_LIMIT if request.limit is None else request.limit, MAX_LIMIT)
        begin = parse_token(request.start) if request.start else None
        if isinstance(begin, int):
            raise invalid_param("from is a token that /threads gave")

        async def work(tx: Transaction) -> dict[str, Any]:
            may = await access(tx, self._states, room_id, requester.user_id)
            if may.until is not None:
                await _check_not_banned(tx, may.room, requester.user_id)
            until = may.until if may.until is not None else await positions.current(tx)
            start = replace(begin, until=until) if begin is not None else newest_place(until)
            ignored = await ignored_users(tx, requester.user_id)
            found, further = await self._walk(
                tx, requester, may.room, request.participated, start, ignored, limit
            )
            shown = [_redacted(seen) if seen.stored.event.sender in ignored else seen for seen in found]
            answer: dict[str, Any] = {"chunk": await self._events.render_bundled(tx, requester, shown)}
            if further is not None:
                answer["next_batch"] = place_token(further)
            return answer

        return await self._database.read(work)

    async def _walk(
        self,
        tx: Transaction,
        requester: Requester,
        room: Room,
        participated: bool,
        start: Place,
        ignored: Collection[str],
        limit: int,
    ) -> tuple[list[SeenEvent], Place | None]:
        """Up to `limit` thread roots that the user may see, and where to go on; None when there are no more."""
        participant = requester.user_id if participated else None
        found: list[_Root] = []
        at = start
        for _ in range(MAX_READS):
            asked = limit - len(found) + 1
            rows = await relations.threads(
                tx, room.room_nid, start=at, ignored=ignored, participant=participant, limit=asked
            )
            found += await self._visible(tx, requester.user_id, rows)
            if len(found) > limit:
                found = found[:limit]
                return [root.event for root in found], _before(found[-1].latest)
            if len(rows) < asked:
                return [root.event for root in found], None
            at = _before(rows[-1][1], start.until)
        return [root.event for root in found], replace(at, until=None)

    async def _visible(self, tx: Transaction, user_id: str, rows: Sequence[tuple[str, Place]]) -> list[_Root]:
        """Those of the roots that the user may see."""
        stored = await stored_events.get_many(tx, [root_id for root_id, _ in rows])
        seen = await visible(tx, self._states, user_id, list(stored.values()))
        by_id = {each.stored.event.event_id: each for each in seen}
        return [_Root(by_id[root_id], latest) for root_id, latest in rows if root_id in by_id]


async def _check_not_banned(tx: Transaction, room: Room, user_id: str) -> None:
    """Raises M_FORBIDDEN: "The user has been banned from the room." """
    now = await memberships.get(tx, room.room_nid, user_id)
    if now is not None and now.membership == "ban":
        raise forbidden(f"You are banned from the room {room.room_id}")


def _before(place: Place, until: int | None = None) -> Place:
    return Place(place.depth, place.position - 1, until)


def _redacted(seen: SeenEvent) -> SeenEvent:
    """ "If the thread root event was sent by an ignored user, the event is returned redacted to the caller." """
    return replace(seen, stored=replace(seen.stored, event=redact(seen.stored.event)))
