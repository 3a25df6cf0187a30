"""The users who can be searched for. `services/user_directory_index.py` keeps the tables up with what is marked here as changed.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Entry:
    """A user who can be found. is_public: by everybody, because the user is in a room that all the world may join or read."""

    user_id: str
    is_local: bool
    display_name: str | None
    avatar_url: str | None
    is_public: bool


@dataclass(frozen=True, slots=True)
class UserSearch:
    """Whom somebody searches for.

    ranges: for each word from where to before where one of the user's words stands (`core/name_words.py`), the rarest first.
    all_local: also users of ours whom the searcher does not see in any room. with_locked: also those whose accounts are locked.
    """

    searcher: str
    ranges: Sequence[tuple[bytes, bytes]]
    limit: int
    all_local: bool = False
    only_local: bool = False
    local_first: bool = False
    with_locked: bool = False


async def users_changed(tx: Transaction, user_ids: Collection[str]) -> None:
    """What is known of these users may have changed."""
    # In one order, so that no two units of work wait for each other.
    await tx.execute_many(
        "INSERT INTO user_directory_changed_users (user_id, change) VALUES ($1, 0)"
        " ON CONFLICT (user_id) DO UPDATE SET change = user_directory_changed_users.change + 1",
        [(user_id,) for user_id in sorted(user_ids)],
    )


async def room_changed(tx: Transaction, room_nid: int) -> None:
    """Who may join or read a room, or whether we are in it, may have changed."""
    await tx.execute(
        "INSERT INTO user_directory_changed_rooms (room_nid, change) VALUES ($1, 0)"
        " ON CONFLICT (room_nid) DO UPDATE SET change = user_directory_changed_rooms.change + 1",
        room_nid,
    )


async def changed_users(tx: Transaction, limit: int) -> dict[str, int]:
    """Some of the users to look at again, with the number of the change that is seen so."""
    rows = await tx.fetch("SELECT user_id, change FROM user_directory_changed_users LIMIT $1", limit)
    return {row[0]: row[1] for row in rows}


async def changed_rooms(tx: Transaction, limit: int) -> dict[int, int]:
    """Some of the rooms to look at again, with the number of the change that is seen so."""
    rows = await tx.fetch("SELECT room_nid, change FROM user_directory_changed_rooms LIMIT $1", limit)
    return {row[0]: row[1] for row in rows}


async def users_seen(tx: Transaction, seen: Mapping[str, int]) -> None:
    """These users have been looked at, as they were when they were read."""
    await tx.execute_many(
        "DELETE FROM user_directory_changed_users WHERE user_id = $1 AND change = $2", sorted(seen.items())
    )


async def room_seen(tx: Transaction, room_nid: int, change: int) -> None:
    """This room has been looked at, as it was when it was read."""
    await tx.execute(
        "DELETE FROM user_directory_changed_rooms WHERE room_nid = $1 AND change = $2", room_nid, change
    )


async def set_open(tx: Transaction, room_nid: int, is_open: bool) -> None:
    """Note whether all the world may join or read a room; if that is new, all its members are to be looked at again."""
    was_open = await tx.fetch_value("SELECT 1 FROM user_directory_rooms WHERE room_nid = $1", room_nid)
    if bool(was_open) == is_open:
        return
    if is_open:
        await tx.execute("INSERT INTO user_directory_rooms (room_nid) VALUES ($1)", room_nid)
    else:
        await tx.execute("DELETE FROM user_directory_rooms WHERE room_nid = $1", room_nid)
    await tx.execute(
        "INSERT INTO user_directory_changed_users (user_id, change)"
        " SELECT user_id, 0 FROM memberships WHERE room_nid = $1 AND membership = 'join' ORDER BY user_id"
        " ON CONFLICT (user_id) DO UPDATE SET change = user_directory_changed_users.change + 1",
        room_nid,
    )


async def newest_joins(tx: Transaction, user_ids: Collection[str]) -> dict[str, int]:
    """For each of the users who are joined to a room, the number of the newest event that says so."""
    rows = await tx.fetch(
        "SELECT m.user_id, MAX(e.event_nid) FROM memberships m JOIN events e ON e.event_id = m.event_id"
        " WHERE m.user_id = ANY($1) AND m.membership = 'join' GROUP BY m.user_id",
        list(user_ids),
    )
    return {row[0]: row[1] for row in rows}


async def in_open_rooms(tx: Transaction, user_ids: Collection[str]) -> set[str]:
    """Those of the users who are in a room that all the world may join or read."""
    rows = await tx.fetch(
        "SELECT DISTINCT m.user_id FROM memberships m JOIN user_directory_rooms r ON r.room_nid = m.room_nid"
        " WHERE m.user_id = ANY($1) AND m.membership = 'join'",
        list(user_ids),
    )
    return {row[0] for row in rows}


async def put(tx: Transaction, entries: Sequence[tuple[Entry, Collection[bytes]]]) -> None:
    """Keep users with the words by which they are found, in place of what there was of them."""
    await remove(tx, [entry.user_id for entry, _ in entries])
    await tx.execute_many(
        "INSERT INTO user_directory (user_id, is_local, display_name, avatar_url, is_public)"
        " VALUES ($1, $2, $3, $4, $5)",
        [
            (entry.user_id, entry.is_local, entry.display_name, entry.avatar_url, entry.is_public)
            for entry, _ in entries
        ],
    )
    await tx.execute_many(
        "INSERT INTO user_directory_words (word, user_id) VALUES ($1, $2)",
        [(word, entry.user_id) for entry, words in entries for word in sorted(words)],
    )


async def remove(tx: Transaction, user_ids: Collection[str]) -> None:
    """Have users not found any more."""
    for table in ("user_directory", "user_directory_words"):
        await tx.execute(f"DELETE FROM {table} WHERE user_id = ANY($1)", list(user_ids))


async def get_many(tx: Transaction, user_ids: Collection[str]) -> dict[str, Entry]:
    """The entries of users, as far as there are any."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM user_directory d WHERE d.user_id = ANY($1)", list(user_ids)
    )
    return {row[0]: _entry(row) for row in rows}


_COLUMNS = "d.user_id, d.is_local, d.display_name, d.avatar_url, d.is_public"

WORDS_LOOKED_AT = 1000
EVERY_WORD = 2**62

_SHARED = (
    "EXISTS (SELECT 1 FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid"
    " WHERE a.user_id = d.user_id AND a.membership = 'join'"
    " AND b.server = $2 AND b.user_id = $1 AND b.membership = 'join')"
)


def _entry(row: Row) -> Entry:
    return Entry(row[0], bool(row[1]), row[2], row[3], bool(row[4]))


async def search(tx: Transaction, wanted: UserSearch) -> list[Entry]:
    """Those whom the searcher may find: with a whole word before those with its beginning, with a name and an avatar before those
    without. Never the searcher.

    What very many people's words begin with is looked for among the first of them, as long as that brings enough.
    """
    found: list[Entry] = []
    for most_words in (WORDS_LOOKED_AT, EVERY_WORD):
        if wanted.ranges and len(found) < wanted.limit:
            found = await _search(tx, wanted, most_words)
    return found


async def _search(tx: Transaction, wanted: UserSearch, most_words: int) -> list[Entry]:
    values: list[object] = [wanted.searcher, wanted.searcher.partition(":")[2], *wanted.ranges[0]]
    others = ""
    for low, high in wanted.ranges[1:]:
        values += [low, high]
        others += (
            " AND EXISTS (SELECT 1 FROM user_directory_words x WHERE x.user_id = d.user_id"
            f" AND x.word >= ${len(values) - 1} AND x.word < ${len(values)})"
        )
    values += [most_words, wanted.limit]
    rows = await tx.fetch(
        f"SELECT {_COLUMNS}, MIN(CASE WHEN w.word = $3 THEN 0 ELSE 1 END) AS is_part"
        " FROM (SELECT word, user_id FROM user_directory_words WHERE word >= $3 AND word < $4"
        f" ORDER BY word LIMIT ${len(values) - 1}) w JOIN user_directory d ON d.user_id = w.user_id"
        f" WHERE d.user_id <> $1{others}"
        f"{' AND d.is_local' if wanted.only_local else ''}"
        f" AND (d.is_public OR {'d.is_local OR ' if wanted.all_local else ''}{_SHARED})"
        " AND NOT EXISTS (SELECT 1 FROM users u WHERE u.user_id = d.user_id AND (u.is_deactivated"
        f"{'' if wanted.with_locked else ' OR u.is_locked'}))"
        " GROUP BY d.user_id"
        f" ORDER BY {'d.is_local DESC, ' if wanted.local_first else ''}is_part,"
        " CASE WHEN d.display_name IS NULL THEN 1 ELSE 0 END, CASE WHEN d.avatar_url IS NULL THEN 1 ELSE 0 END,"
        f" LENGTH(d.display_name), d.user_id LIMIT ${len(values)}",
        *values,
    )
    return [_entry(row) for row in rows]
