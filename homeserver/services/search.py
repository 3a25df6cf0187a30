"""Full-text search for users, over the rooms that they are or were in.

What the index finds in these rooms is put in order and gone through from the front: what the user may not see is passed over, and
counted nowhere, so that nobody can feel for the words of a history that is hidden.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.filters import RoomEventFilter
from homeserver.core.requester import Requester
from homeserver.core.search import SearchTerm, highlights, parse_search_term, searched_text, types_of
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import Access, SeenEvent
from homeserver.services.room_state import RoomStates
from homeserver.services.search_context import ContextRequest, ResultContexts
from homeserver.services.search_index import SearchIndex
from homeserver.services.search_results import FoundEvents, searched_rooms
from homeserver.storage import search
from homeserver.storage.database import Database, Transaction
from homeserver.storage.search import Match

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_MATCHES = 10_000
"""How many matches are put in order; of more, those that came last."""

MAX_EXAMINED = 1_000
"""How many of them one request goes through for its results and their count."""

SEARCHES_AT_ONCE = 2
"""Others wait, so that the database has time for other readers."""

_TOKEN = re.compile(r"(\d{1,18})\.(\d{1,9})\.(\d{1,9})(?:\.(room_id|sender)\.(.{1,255}))?", re.DOTALL)

GROUPS: Final = ("room_id", "sender")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a client searches for. keys None: all. by_rank: the best first, and not the latest. group_by: of GROUPS."""

    term: str
    keys: tuple[str, ...] | None = None
    filter: RoomEventFilter = field(default_factory=RoomEventFilter)
    by_rank: bool = True
    context: ContextRequest | None = None
    include_state: bool = False
    group_by: tuple[str, ...] = ()
    next_batch: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """Where to go on: in the matches up to an event's number (None: all that there are now), at an offset among them.

    count: how many results were told of. group: key and value of the group whose results are wanted.
    """

    up_to: int | None = None
    offset: int = 0
    count: int = 0
    group: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: str | None) -> _Token:
        """Raises M_INVALID_PARAM."""
        if text is None:
            return cls()
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise invalid_param(f"{text[:60]!r} is not a next_batch of a search on this server")
        group = (match[4], match[5]) if match[4] else None
        return cls(int(match[1]), int(match[2]), int(match[3]), group)

    def __str__(self) -> str:
        group = "." + ".".join(self.group) if self.group else ""
        return f"{self.up_to}.{self.offset}.{self.count}{group}"


@dataclass(frozen=True, slots=True)
class _Result:
    match: Match
    seen: SeenEvent


@dataclass(frozen=True, slots=True)
class _Page:
    """results: what is shown. count: how many there are, as far as was looked.

    rest: those behind the page, and the matches that were not looked at. next: the token of the first of them.
    """

    results: list[_Result]
    count: int
    next: _Token
    rest: Sequence[Match]


class Search:
    """Answers searches."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        events: ClientEvents,
        index: SearchIndex,
        *,
        enabled: bool = True,
    ) -> None:
        """`index` is brought up to date before a search."""
        self._database = database
        self._states = states
        self._events = events
        self._index = index
        self._enabled = enabled
        self._turn = asyncio.Semaphore(SEARCHES_AT_ONCE)

    async def room_events(self, requester: Requester, request: SearchRequest) -> dict[str, Any]:
        """The `room_events` of the answer.

        Raises M_INVALID_PARAM for a next_batch that is not ours, M_FORBIDDEN where searching is switched off.
        """
        if not self._enabled:
            raise forbidden("Searching is switched off on this server")
        token = _Token.parse(request.next_batch)
        async with self._turn:
            # Terms and texts may be long: what looks at their words runs in threads.
            term = await asyncio.to_thread(parse_search_term, request.term)
            await self._index.catch_up()
            answer, texts = await self._database.read(
                lambda tx: self._answer(tx, requester, request, term, token)
            )
            if texts:
                answer["highlights"] = await asyncio.to_thread(highlights, term, [*texts, request.term])
            return answer

    async def _answer(
        self, tx: Transaction, requester: Requester, request: SearchRequest, term: SearchTerm, token: _Token
    ) -> tuple[dict[str, Any], list[str]]:
        """The answer, in which the highlights are still missing, and the texts of the results."""
        rooms = await searched_rooms(tx, self._states, requester.user_id, request.filter)
        up_to = token.up_to if token.up_to is not None else await search.newest_event(tx)
        found = await search.matches(
            tx, term, list(rooms), types_of(request.keys), up_to=up_to, limit=MAX_MATCHES
        )
        found.sort(key=_by_rank if request.by_rank else _by_time, reverse=True)
        events = await FoundEvents.open(tx, self._states, requester.user_id, request.filter)
        page = await _page(events, replace(token, up_to=up_to), found, rooms)
        shown = [result.seen for result in page.results]
        rendered = await self._events.render_bundled(tx, requester, shown)
        results = [
            {"rank": result.match.rank, "result": event}
            for result, event in zip(page.results, rendered, strict=True)
        ]
        if request.context is not None:
            contexts = ResultContexts(
                tx, self._states, self._events, requester, request.context, events.ignored
            )
            for body, seen in zip(results, shown, strict=True):
                body["context"] = await contexts.around(seen, events.access(seen))
        texts = [searched_text(seen.stored.event.type, seen.stored.event.content) for seen in shown]
        answer: dict[str, Any] = {
            "count": page.count,
            "highlights": [],
            "results": results,
        }
        if page.rest:
            answer["next_batch"] = str(page.next)
        if request.include_state:
            answer["state"] = await self._state(tx, [events.access(seen) for seen in shown])
        if request.group_by:
            answer["groups"] = {key: _groups(page, key, rooms) for key in request.group_by}
        return answer, texts

    async def _state(self, tx: Transaction, accesses: Sequence[Access]) -> dict[str, list[msgspec.Raw]]:
        """The state of each room of the results, for those who have left a room as it was then."""
        state: dict[str, list[msgspec.Raw]] = {}
        for may in accesses:
            if may.room.room_id not in state:
                events = await self._states.all_events(tx, may.state)
                state[may.room.room_id] = await self._events.state(tx, events.values())
        return state


async def _page(
    events: FoundEvents, token: _Token, found: Sequence[Match], rooms: Mapping[int, str]
) -> _Page:
    """The results from the token on, of what was found in its order."""
    asked = events.wanted.limit
    limit = min(DEFAULT_LIMIT if asked is None else asked, MAX_LIMIT)
    remaining = [
        (place, match)
        for place, match in enumerate(found[token.offset :], start=token.offset)
        if _is_in(match, token.group, rooms)
    ]
    results: list[_Result] = []
    rest: list[tuple[int, Match]] = []
    async for place, match, seen in events.seen(remaining[:MAX_EXAMINED]):
        if len(results) < limit:
            results.append(_Result(match, seen))
        else:
            rest.append((place, match))
    count = token.count or len(results) + len(rest)
    rest += remaining[MAX_EXAMINED:]
    following = replace(token, offset=rest[0][0] if rest else len(found), count=count)
    return _Page(results, count, following, [match for _, match in rest])


def _by_rank(match: Match) -> tuple[float, int]:
    return match.rank, match.nid


def _by_time(match: Match) -> tuple[int, int]:
    return match.origin_server_ts, match.nid


def _value(match: Match, key: str, rooms: Mapping[int, str]) -> str:
    return rooms[match.room_nid] if key == "room_id" else match.sender


def _is_in(match: Match, group: tuple[str, str] | None, rooms: Mapping[int, str]) -> bool:
    return group is None or _value(match, group[0], rooms) == group[1]


def _groups(page: _Page, key: str, rooms: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """The results of the page by room or sender, the groups numbered in the order of their first results."""
    groups: dict[str, dict[str, Any]] = {}
    for result in page.results:
        value = _value(result.match, key, rooms)
        group = groups.setdefault(value, {"order": len(groups), "results": []})
        group["results"].append(result.seen.stored.event.event_id)
    has_more = {_value(match, key, rooms) for match in page.rest}
    for value in groups.keys() & has_more:
        groups[value]["next_batch"] = str(replace(page.next, group=(key, value)))
    return groups
