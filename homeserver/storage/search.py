"""The full-text index: FTS5 on SQLite, a tsvector with a GIN index on PostgreSQL.

It follows the events instead of being written with them: `search_progress` says how far it has come, so that sending pays nothing.
A redaction takes an event out of it at once. Both databases find the same, because the words are made in `core.search`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from homeserver.core.events import load_event
from homeserver.core.room_versions import rules_for
from homeserver.core.search import SEARCHED_TYPES, Phrase, SearchTerm, searched_text, words_of
from homeserver.storage.database import Row, Transaction
from homeserver.storage.events import EventStatus, StoredEvent

FEW_ROOMS: Final = 50
"""In up to so many rooms the index itself tells the rooms apart; of more, what it finds is looked at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """newest, oldest: the positions that the index has come to, forwards in the stream and backwards in the fetched history."""

    newest: int
    oldest: int
    redactions: int

    def covers(self, position: int | None) -> bool:
        """Whether what has this position is in the index."""
        return position is not None and self.oldest <= position <= self.newest


@dataclass(frozen=True, slots=True)
class Indexed:
    """An event as it stands in the index."""

    nid: int
    room_nid: int
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Match:
    """An event that was found. rank: how well it fits, higher is better; comparable within one search alone."""

    nid: int
    room_nid: int
    sender: str
    type: str
    origin_server_ts: int
    rank: float


async def add(tx: Transaction, events: Sequence[StoredEvent]) -> None:
    """Events have got their place: the index takes them in later (`unindexed`)."""


async def remove(tx: Transaction, event: StoredEvent) -> None:
    """Take an event that was redacted out of the index; given as it was before."""
    words = words_of(searched_text(event.event.type, event.event.content))
    if not words or event.status is not EventStatus.ACCEPTED:
        return
    row = await tx.fetch_one(
        "UPDATE search_progress SET redactions = redactions + 1 RETURNING newest, oldest, redactions"
    )
    assert row is not None, "the migration made the row"
    if not Progress(*row).covers(event.position):
        return
    if tx.dialect == "sqlite":
        await tx.execute(
            "INSERT INTO event_search (event_search, rowid, words, room) VALUES ('delete', $1, $2, $3)",
            event.nid,
            " ".join(words),
            str(event.room_nid),
        )
    else:
        await tx.execute("DELETE FROM event_search WHERE event_nid = $1", event.nid)


async def progress(tx: Transaction) -> Progress:
    """How far the index has come."""
    row = await tx.fetch_one("SELECT newest, oldest, redactions FROM search_progress")
    assert row is not None, "the migration made the row"
    return Progress(*row)


async def unindexed(tx: Transaction, limit: int) -> tuple[Progress, Progress, Sequence[Row]]:
    """How far the index has come, how far it comes with the next events, and these, at most `limit` of them, for `indexed`.

    The two are equal when there is nothing to do.
    """
    seen = await progress(tx)
    rows = await _next(tx, "> $1", "ASC", seen.newest, limit)
    if rows:
        return seen, replace(seen, newest=rows[-1][1]), rows
    rows = await _next(tx, "< $1", "DESC", seen.oldest, limit)
    return seen, replace(seen, oldest=rows[-1][1]) if rows else seen, rows


async def _next(tx: Transaction, compare: str, order: str, place: int, limit: int) -> Sequence[Row]:
    return await tx.fetch(
        "SELECT e.event_nid, e.position, e.room_nid, e.event_id, e.canonical, r.version FROM events e"
        f" JOIN rooms r ON r.room_nid = e.room_nid WHERE e.position {compare} AND e.status = 0"
        " AND e.type IN ('m.room.message', 'm.room.name', 'm.room.topic')"
        f" ORDER BY e.position {order} LIMIT $2",
        place,
        limit,
    )


def indexed(rows: Sequence[Row]) -> list[Indexed]:
    """What `unindexed` found, as it stands in the index. Work for a thread: long texts take some milliseconds each."""
    events = ((row, load_event(bytes(row[4]), row[3], rules_for(row[5]))) for row in rows)
    found = (
        Indexed(row[0], row[2], words_of(searched_text(event.type, event.content))) for row, event in events
    )
    return [each for each in found if each.words]


async def index(tx: Transaction, seen: Progress, then: Progress, events: Sequence[Indexed]) -> bool:
    """Take events in, and note how far the index has come; False, and nothing done, if it is no longer as `seen`."""
    moved = await tx.execute(
        "UPDATE search_progress SET newest = $1, oldest = $2"
        " WHERE newest = $3 AND oldest = $4 AND redactions = $5",
        then.newest,
        then.oldest,
        seen.newest,
        seen.oldest,
        seen.redactions,
    )
    if moved != 1:
        return False
    if tx.dialect == "sqlite":
        await tx.execute_many(
            "INSERT INTO event_search (rowid, words, room) VALUES ($1, $2, $3)",
            [(each.nid, " ".join(each.words), str(each.room_nid)) for each in events],
        )
    else:
        await tx.execute_many(
            "INSERT INTO event_search (event_nid, words) VALUES ($1, $2::text::tsvector)",
            [(each.nid, _tsvector(each)) for each in events],
        )
    return True


async def newest_event(tx: Transaction) -> int:
    """The highest number that an event has: what comes later is no part of a search that was begun."""
    return int(await tx.fetch_value("SELECT COALESCE(MAX(event_nid), 0) FROM events"))


async def matches(
    tx: Transaction,
    term: SearchTerm,
    room_nids: Collection[int],
    types: Collection[str],
    *,
    up_to: int,
    limit: int,
) -> list[Match]:
    """The events of these rooms and types that have all phrases of the term and a number up to `up_to`.

    The `limit` of them that came to us last, in that order.
    """
    if not term.phrases or not room_nids or not set(types) & set(SEARCHED_TYPES.values()):
        return []
    rooms = [str(nid) for nid in room_nids] if len(room_nids) <= FEW_ROOMS else []
    among = (up_to, list(room_nids), list(types), limit)
    if tx.dialect == "sqlite":
        rows = await tx.fetch(_SQLITE, _fts5(term.phrases, rooms), *among)
    else:
        words = _tsquery(term.phrases)
        rows = await tx.fetch(_POSTGRESQL, words + _in_rooms(rooms), *among, words)
    return [Match(*row) for row in rows]


_SELECT = "SELECT e.event_nid, e.room_nid, e.sender, e.type, e.origin_server_ts"
_WHERE = "e.room_nid = ANY($3) AND e.type = ANY($4)"
# CROSS JOIN: the index leads. The rooms in it do not count for the rank.
_SQLITE = (
    f"{_SELECT}, -bm25(event_search, 1.0, 0.0) FROM event_search CROSS JOIN events e ON e.event_nid = event_search.rowid"
    f" WHERE event_search MATCH $1 AND event_search.rowid <= $2 AND {_WHERE} ORDER BY event_search.rowid DESC LIMIT $5"
)
_POSTGRESQL = (
    f"{_SELECT}, ts_rank(s.words, $6::text::tsquery, 1) FROM event_search s"
    f" JOIN events e ON e.event_nid = s.event_nid WHERE s.words @@ $1::text::tsquery AND s.event_nid <= $2 AND {_WHERE}"
    " ORDER BY s.event_nid DESC LIMIT $5"
)


# Words are of letters, marks and figures alone, so they need no quoting but the quotes.
def _fts5(phrases: Sequence[Phrase], rooms: Sequence[str]) -> str:
    words = " AND ".join(f'"{" ".join(phrase)}"' for phrase in phrases)
    among = " OR ".join(f'"{room}"' for room in rooms)
    return f"words : ({words})" + (f" AND room : ({among})" if among else "")


def _tsquery(phrases: Sequence[Phrase]) -> str:
    return " & ".join("(" + " <-> ".join(f"'{word}'" for word in phrase) + ")" for phrase in phrases)


def _in_rooms(rooms: Sequence[str]) -> str:
    return " & (" + " | ".join(f"'#{room}'" for room in rooms) + ")" if rooms else ""


def _tsvector(event: Indexed) -> str:
    """Words with their places, and the room."""
    words = " ".join(f"'{word}':{place}" for place, word in enumerate(event.words, start=1))
    return f"{words} '#{event.room_nid}'"
