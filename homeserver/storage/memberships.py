"""Who is in which room by its current state, and which servers get its events.

Kept up to date in the unit of work that moves a room's current state (`apply`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeserver.storage import user_directory
from homeserver.storage.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Membership:
    """The m.room.member event of a user in a room's current state.

    position: where the stream stood when it came into force. forgotten: the user asked not to see the room any more.
    """

    room_nid: int
    room_id: str
    user_id: str
    membership: str
    event_id: str
    sender: str
    position: int
    forgotten: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A user's new membership in a room; None when the current state says nothing of the user any more."""

    user_id: str
    membership: str | None
    event_id: str
    sender: str


@dataclass(frozen=True, slots=True)
class MembersMoved:
    """Who has come into a room and gone out of it.

    newcomers: the users who have come to be joined; leavers: those who are joined no longer. came: the servers that have their
    first joined member; gone: those whose last one is none any more.
    """

    newcomers: frozenset[str] = frozenset()
    leavers: frozenset[str] = frozenset()
    came: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


NOBODY_MOVED = MembersMoved()

_COLUMNS = "m.room_nid, r.room_id, m.user_id, m.membership, m.event_id, m.sender, m.position, m.forgotten"
_FROM = "FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid"


def _membership(row: Row) -> Membership:
    return Membership(row[0], row[1], row[2], row[3], row[4], row[5], row[6], bool(row[7]))


async def get(tx: Transaction, room_nid: int, user_id: str) -> Membership | None:
    """The user's membership of the room; None when its state has none."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.room_nid = $1 AND m.server = $2 AND m.user_id = $3",
        room_nid,
        _server(user_id),
        user_id,
    )
    return _membership(row) if row else None


async def of_user(
    tx: Transaction, user_id: str, memberships: Collection[str], *, after: int = -1
) -> list[Membership]:
    """The rooms in which the user has had one of these memberships since a position later than `after`, in that order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.user_id = $1 AND m.membership = ANY($2) AND m.position > $3"
        " ORDER BY m.position",
        user_id,
        list(memberships),
        after,
    )
    return [_membership(row) for row in rows]


async def of_room(tx: Transaction, room_nid: int, memberships: Collection[str]) -> list[Membership]:
    """The room's members with one of these memberships, by user ID."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.room_nid = $1 AND m.membership = ANY($2) ORDER BY m.user_id",
        room_nid,
        list(memberships),
    )
    return [_membership(row) for row in rows]


async def of_users(tx: Transaction, room_nid: int, user_ids: Collection[str]) -> dict[str, str]:
    """What each of these users is in the room; those of whom its state says nothing are left out."""
    rows = await tx.fetch(
        "SELECT user_id, membership FROM memberships WHERE room_nid = $1 AND server = ANY($2) AND user_id = ANY($3)",
        room_nid,
        sorted({_server(user_id) for user_id in user_ids}),
        list(user_ids),
    )
    return {row[0]: row[1] for row in rows}


async def first(
    tx: Transaction, room_nid: int, memberships: Collection[str], *, but: str, limit: int
) -> list[Membership]:
    """The `limit` members of the room who have had one of these memberships for longest, without the user `but`."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.room_nid = $1 AND m.membership = ANY($2) AND m.user_id <> $3"
        " ORDER BY m.position, m.user_id LIMIT $4",
        room_nid,
        list(memberships),
        but,
        limit,
    )
    return [_membership(row) for row in rows]


async def counts(tx: Transaction, room_nids: Collection[int]) -> dict[int, dict[str, int]]:
    """How many members of each membership each of these rooms has."""
    found: dict[int, dict[str, int]] = {nid: {} for nid in room_nids}
    if found:
        rows = await tx.fetch(
            "SELECT room_nid, membership, COUNT(*) FROM memberships WHERE room_nid = ANY($1)"
            " GROUP BY room_nid, membership",
            list(found),
        )
        for nid, membership, count in rows:
            found[nid][membership] = count
    return found


async def joined_counts(tx: Transaction, room_nids: Collection[int]) -> dict[int, int]:
    """How many joined members each of these rooms has."""
    if not room_nids:
        return {}
    rows = await tx.fetch(
        "SELECT room_nid, SUM(joined) FROM room_servers WHERE room_nid = ANY($1) GROUP BY room_nid",
        list(room_nids),
    )
    return {row[0]: int(row[1]) for row in rows}


async def rooms_of_server(tx: Transaction, server: str, room_nids: Collection[int]) -> set[int]:
    """In which of these rooms a member of that server is joined."""
    if not room_nids:
        return set()
    rows = await tx.fetch(
        "SELECT room_nid FROM room_servers WHERE room_nid = ANY($1) AND server = $2 AND joined > 0",
        list(room_nids),
        server,
    )
    return {row[0] for row in rows}


async def local_users(
    tx: Transaction, room_nid: int, server_name: str, memberships: Collection[str]
) -> list[str]:
    """The users of a server who have one of these memberships in the room, by user ID."""
    rows = await tx.fetch(
        "SELECT user_id FROM memberships WHERE room_nid = $1 AND server = $2 AND membership = ANY($3) ORDER BY user_id",
        room_nid,
        server_name,
        list(memberships),
    )
    return [row[0] for row in rows]


async def of_server(tx: Transaction, room_nid: int, server: str) -> list[Membership]:
    """What the users of a server are in a room, whatever that is, by user ID."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.room_nid = $1 AND m.server = $2 ORDER BY m.user_id",
        room_nid,
        server,
    )
    return [_membership(row) for row in rows]


async def joined_servers(tx: Transaction, room_nid: int) -> list[str]:
    """The servers with a joined member in the room."""
    rows = await tx.fetch(
        "SELECT server FROM room_servers WHERE room_nid = $1 AND joined > 0 ORDER BY server", room_nid
    )
    return [row[0] for row in rows]


async def is_server_joined(tx: Transaction, room_nid: int, server: str) -> bool:
    """Whether a member of that server is joined to the room."""
    return bool(
        await tx.fetch_value(
            "SELECT joined FROM room_servers WHERE room_nid = $1 AND server = $2", room_nid, server
        )
    )


async def share_room(tx: Transaction, one: str, other: str) -> bool:
    """Whether two users are joined to a room in common."""
    shared = await tx.fetch_value(
        "SELECT 1 FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid"
        " WHERE a.user_id = $1 AND b.user_id = $2 AND a.membership = 'join' AND b.membership = 'join' LIMIT 1",
        one,
        other,
    )
    return shared is not None


_SHARED = (
    "FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid"
    " WHERE a.user_id = $1 AND a.membership = 'join'"
    " AND b.server = $2 AND b.user_id = $3 AND b.membership = 'join'"
)


async def shared_rooms(
    tx: Transaction, one: str, other: str, *, after: int, limit: int
) -> list[tuple[int, str]]:
    """The numbers and IDs of rooms that two users are both joined to, by number, from the one after `after` on."""
    rows = await tx.fetch(
        f"SELECT a.room_nid, (SELECT r.room_id FROM rooms r WHERE r.room_nid = a.room_nid) {_SHARED}"
        " AND a.room_nid > $4 ORDER BY a.room_nid LIMIT $5",
        one,
        _server(other),
        other,
        after,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def count_shared_rooms(tx: Transaction, one: str, other: str) -> int:
    """How many rooms two users are both joined to."""
    return int(await tx.fetch_value(f"SELECT COUNT(*) {_SHARED}", one, _server(other), other))


async def joined_rooms(
    tx: Transaction, user_id: str, *, after: int, limit: int
) -> dict[int, tuple[str, str]]:
    """Rooms that a user is joined to, by number from the one after `after` on: the ID and the user's member event."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} WHERE m.user_id = $1 AND m.membership = 'join' AND m.room_nid > $2"
        " ORDER BY m.room_nid LIMIT $3",
        user_id,
        after,
        limit,
    )
    found = [_membership(row) for row in rows]
    return {each.room_nid: (each.room_id, each.event_id) for each in found}


async def set_forgotten(tx: Transaction, room_nid: int, user_id: str) -> None:
    """Hide a room that the user has left from the user."""
    await tx.execute(
        "UPDATE memberships SET forgotten = $1 WHERE room_nid = $2 AND server = $3 AND user_id = $4",
        True,
        room_nid,
        _server(user_id),
        user_id,
    )


async def apply(tx: Transaction, room_nid: int, changes: Sequence[Change], position: int) -> MembersMoved:
    """Bring the room's members up to its new current state, which holds from `position` on. Returns who came and went.

    A room that was forgotten stays so as long as its user does not come back, and `position` of a membership that goes on.
    """
    before = await of_users(tx, room_nid, [change.user_id for change in changes])
    joining_or_leaving = [
        change.user_id for change in changes if "join" in (change.membership, before.get(change.user_id))
    ]
    await user_directory.users_changed(tx, joining_or_leaving)
    joined: Counter[str] = Counter()
    newcomers, leavers = set(), set()
    for change in changes:
        if before.get(change.user_id) == "join":
            joined[_server(change.user_id)] -= 1
            if change.membership != "join":
                leavers.add(change.user_id)
        elif change.membership == "join":
            newcomers.add(change.user_id)
        if change.membership == "join":
            joined[_server(change.user_id)] += 1
    gone = [change.user_id for change in changes if change.membership is None and change.user_id in before]
    if gone:
        await tx.execute(
            "DELETE FROM memberships WHERE room_nid = $1 AND server = ANY($2) AND user_id = ANY($3)",
            room_nid,
            sorted({_server(user_id) for user_id in gone}),
            gone,
        )
    await tx.execute_many(
        "INSERT INTO memberships (room_nid, server, user_id, membership, event_id, sender, position, forgotten)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (room_nid, server, user_id) DO UPDATE SET"
        " membership = excluded.membership, event_id = excluded.event_id, sender = excluded.sender,"
        " position = CASE WHEN memberships.membership = excluded.membership THEN memberships.position"
        " ELSE excluded.position END,"
        " forgotten = memberships.forgotten AND excluded.membership IN ('leave', 'ban')",
        [
            (
                room_nid,
                _server(change.user_id),
                change.user_id,
                change.membership,
                change.event_id,
                change.sender,
                position,
                False,
            )
            for change in changes
            if change.membership is not None
        ],
    )
    came, gone_servers = await _count(
        tx, room_nid, {server: delta for server, delta in joined.items() if delta}
    )
    return MembersMoved(frozenset(newcomers), frozenset(leavers), came, gone_servers)


async def _count(
    tx: Transaction, room_nid: int, deltas: Mapping[str, int]
) -> tuple[frozenset[str], frozenset[str]]:
    """Bring the number of joined members of each server up to date; returns the servers that came and those that are gone."""
    if not deltas:
        return frozenset(), frozenset()
    await tx.execute_many(
        "INSERT INTO room_servers (room_nid, server, joined) VALUES ($1, $2, $3)"
        " ON CONFLICT (room_nid, server) DO UPDATE SET joined = room_servers.joined + excluded.joined",
        [(room_nid, server, delta) for server, delta in deltas.items()],
    )
    rows = await tx.fetch(
        "SELECT server, joined FROM room_servers WHERE room_nid = $1 AND server = ANY($2)",
        room_nid,
        list(deltas),
    )
    return (
        frozenset(server for server, joined in rows if joined and joined == deltas[server]),
        frozenset(server for server, joined in rows if not joined),
    )


def _server(user_id: str) -> str:
    """The server of a user ID. What stands in a room's state for a user need not be one: then it is no server's."""
    return user_id.partition(":")[2]
