"""Going through the tree of a space, page by page, for our users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from homeserver.core.errors import forbidden, invalid_param
from homeserver.services.clock import Clock
from homeserver.services.room_summaries import Summary
from homeserver.services.summary_lookup import Found, SummaryLookup

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_DEPTH = 20
MAX_ROOMS = 10_000
"""How many rooms of one tree are looked at, and wait to be."""

PAGE_MS = 20_000
"""A page that other servers hold up for longer ends where it is."""

MAX_TOKENS_OF_USER = 50
MAX_WAITING = 500_000
"""How many rooms all tokens together remember, as seen or as waiting to be looked at."""

TOKEN_KEPT_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What is asked for. start: the token of an earlier page."""

    suggested_only: bool = False
    limit: int | None = None
    max_depth: int | None = None
    start: str | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A room that has not been looked at. told: what another server said of it."""

    room_id: str
    via: tuple[str, ...]
    depth: int
    told: Summary | None = None


@dataclass(frozen=True, slots=True)
class _Walk:
    """How far somebody has come. waiting: what comes next is last. seen: rooms that were looked at, each once."""

    user_id: str
    room_id: str
    suggested_only: bool
    max_depth: int
    waiting: tuple[_Waiting, ...]
    seen: frozenset[str] = frozenset()
    until: int = 0

    @property
    def size(self) -> int:
        """How many rooms it remembers."""
        return len(self.waiting) + len(self.seen)


class SpaceHierarchy:
    """Pages through spaces, depth first."""

    def __init__(self, lookup: SummaryLookup, clock: Clock) -> None:
        """Rooms are looked up by `lookup`. Tokens are kept in memory, for a quarter of an hour."""
        self._lookup = lookup
        self._clock = clock
        self._walks: OrderedDict[str, _Walk] = OrderedDict()
        self._size = 0

    async def page(self, user_id: str, room_id: str, request: HierarchyRequest) -> dict[str, Any]:
        """`rooms` and, unless that is all, `next_batch`.

        Raises M_FORBIDDEN for a room that the user may not know of, M_INVALID_PARAM for a token that is not of this walk.
        """
        walk = self._walk(user_id, room_id, request)
        limit = min(request.limit or DEFAULT_LIMIT, MAX_LIMIT)
        waiting, seen = list(walk.waiting), set(walk.seen)
        shown: list[dict[str, Any]] = []
        end = self._clock() + PAGE_MS
        while waiting and len(shown) < limit and self._clock() < end:
            room = waiting.pop()
            if room.room_id in seen:
                continue
            seen.add(room.room_id)
            found = await self._lookup.find(
                user_id, room.room_id, room.via, suggested_only=walk.suggested_only, told=room.told
            )
            if found is None:
                if room.depth == 0:
                    raise forbidden("You are not allowed to view this room, or it does not exist")
                continue
            children = [dict(child.stripped) for child in found.summary.children]
            shown.append({**found.summary.entry, "children_state": children})
            if room.depth < walk.max_depth:
                most = max(0, MAX_ROOMS - len(seen) - len(waiting))
                waiting += _children(found, room.depth + 1, seen)[:most][::-1]
        answer: dict[str, Any] = {"rooms": shown}
        waiting = [room for room in waiting if room.room_id not in seen]
        if waiting:
            answer["next_batch"] = self._keep(replace(walk, waiting=tuple(waiting), seen=frozenset(seen)))
        return answer

    def _walk(self, user_id: str, room_id: str, request: HierarchyRequest) -> _Walk:
        """Where to go on, or a beginning."""
        max_depth = MAX_DEPTH if request.max_depth is None else min(request.max_depth, MAX_DEPTH)
        if request.start is None:
            beginning = (_Waiting(room_id, (), 0),)
            return _Walk(user_id, room_id, request.suggested_only, max_depth, beginning)
        walk = self._walks.get(request.start)
        if walk is None or self._is_over(request.start) or (walk.user_id, walk.room_id) != (user_id, room_id):
            raise invalid_param("from is not a token of this space, or it is too old: begin again without it")
        if (walk.suggested_only, walk.max_depth) != (request.suggested_only, max_depth):
            raise invalid_param("suggested_only and max_depth cannot change on paginated requests")
        return walk

    def _keep(self, walk: _Walk) -> str:
        """A token to go on with. Of a user, and of all together, the oldest ones are dropped when they are too many."""
        own = [token for token, kept in self._walks.items() if kept.user_id == walk.user_id]
        for token in own[: max(0, len(own) + 1 - MAX_TOKENS_OF_USER)]:
            self._drop(token)
        token = f"h{secrets.token_urlsafe(16)}"
        self._walks[token] = replace(walk, until=self._clock() + TOKEN_KEPT_MS)
        self._size += walk.size
        while self._size > MAX_WAITING or self._is_over(next(iter(self._walks))):
            self._drop(next(iter(self._walks)))
        return token

    def _is_over(self, token: str) -> bool:
        return self._walks[token].until <= self._clock()

    def _drop(self, token: str) -> None:
        self._size -= self._walks.pop(token).size


def _children(found: Found, depth: int, seen: set[str]) -> list[_Waiting]:
    """What is below a space, in its order; without what cannot be had."""
    return [
        _Waiting(child.room_id, child.via, depth, found.told.get(child.room_id))
        for child in found.summary.children
        if child.room_id not in seen and child.room_id not in found.inaccessible
    ]
