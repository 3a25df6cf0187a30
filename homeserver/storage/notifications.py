"""Notifications: which events notify which of our users, what of them is unread, and how far users have read.

An event that notifies has one row for all of the room's members, and rows of their own for those for whom it is otherwise (see
`0080_notifications`). A user's notifications in a room are those since the user joined it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Row, Transaction

NO_ROOM = 0
"""The room's number in an invite to a room that we are not in."""

WHOLE_ROOM = ""
"""The thread ID of a mark that is about all threads of a room."""


@dataclass(frozen=True, slots=True)
class Notifying:
    """An event that notifies. thread_id: its thread's root, or `main`. actions: JSON. ts: when it came, in milliseconds."""

    room_nid: int
    position: int
    event_nid: int
    thread_id: str
    sender: str
    is_highlight: bool
    is_call: bool
    actions: str
    ts: int


@dataclass(frozen=True, slots=True)
class Own:
    """What an event is for one user; with `notifies` False it does not notify the user."""

    user_id: str
    event: Notifying
    notifies: bool = True


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of a user. room_nid, event_nid: NO_ROOM and 0 for an invite to a room that we are not in."""

    position: int
    room_nid: int
    event_nid: int
    actions: str
    ts: int
    is_read: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """How many notifications a user has not read, how many of them are highlighted, and how many are calls."""

    notifications: int = 0
    highlights: int = 0
    calls: int = 0

    def __add__(self, other: Unread) -> Unread:
        return Unread(
            self.notifications + other.notifications,
            self.highlights + other.highlights,
            self.calls + other.calls,
        )


async def add(tx: Transaction, general: Sequence[Notifying], own: Sequence[Own]) -> None:
    """Store what new events are: for everyone in the room, and for single users."""
    await tx.execute_many(
        "INSERT INTO notifications (room_nid, position, event_nid, thread_id, sender, highlights, calls, actions, ts)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            (
                each.room_nid,
                each.position,
                each.event_nid,
                each.thread_id,
                each.sender,
                int(each.is_highlight),
                int(each.is_call),
                each.actions,
                each.ts,
            )
            for each in general
        ],
    )
    if own:
        await tx.execute_many(
            "INSERT INTO own_notifications (user_id, room_nid, position, event_nid, thread_id, notifies, highlights, calls,"
            " actions, ts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            [
                (
                    each.user_id,
                    each.event.room_nid,
                    each.event.position,
                    each.event.event_nid,
                    each.event.thread_id,
                    int(each.notifies),
                    int(each.event.is_highlight),
                    int(each.event.is_call),
                    each.event.actions,
                    each.event.ts,
                )
                for each in own
            ],
        )


async def remove(tx: Transaction, room_nid: int, position: int) -> None:
    """Forget that an event notifies: it has been redacted."""
    await tx.execute("DELETE FROM notifications WHERE room_nid = $1 AND position = $2", room_nid, position)
    await tx.execute(
        "DELETE FROM own_notifications WHERE room_nid = $1 AND position = $2", room_nid, position
    )


async def mark_read(
    tx: Transaction, user_id: str, room_nid: int, thread_id: str, read_up_to: int, position: int
) -> bool:
    """The user has read a thread up to a position; False when that was known.

    thread_id: `main`, a root, or WHOLE_ROOM. position: that of the receipt, or of the event which the user has sent.
    """
    moved = await tx.execute(
        "INSERT INTO notification_marks (user_id, room_nid, thread_id, read_up_to, position) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (user_id, room_nid, thread_id) DO UPDATE SET read_up_to = excluded.read_up_to,"
        " position = excluded.position WHERE notification_marks.read_up_to < excluded.read_up_to",
        user_id,
        room_nid,
        thread_id,
        read_up_to,
        position,
    )
    if moved and thread_id == WHOLE_ROOM:
        await tx.execute(
            "DELETE FROM notification_marks WHERE user_id = $1 AND room_nid = $2 AND thread_id <> $3 AND read_up_to <= $4",
            user_id,
            room_nid,
            WHOLE_ROOM,
            read_up_to,
        )
    return bool(moved)


async def marks_changed(tx: Transaction, user_id: str, after: int) -> set[int]:
    """The numbers of the rooms of which the user has read more since a position."""
    rows = await tx.fetch(
        "SELECT room_nid FROM notification_marks WHERE user_id = $1 AND position > $2", user_id, after
    )
    return {row[0] for row in rows}


# m: the membership; u: how far the whole room is read; t: how far the thread is read.
_MEMBER = (
    "FROM memberships m LEFT JOIN notification_marks u"
    " ON u.user_id = m.user_id AND u.room_nid = m.room_nid AND u.thread_id = ''"
)
_THREAD = (
    "LEFT JOIN notification_marks t"
    " ON t.user_id = m.user_id AND t.room_nid = n.room_nid AND t.thread_id = n.thread_id"
)
# e: the sum that stands for the rows up to a position, some of which may still be there.
_SUM = (
    "LEFT JOIN earlier_notifications e"
    " ON e.room_nid = n.room_nid AND e.user_id = m.user_id AND e.thread_id = n.thread_id"
)
_NOT_IN_SUM = "n.position > COALESCE(e.up_to, 0)"
_FROM_HERE = "GREATEST(m.position, COALESCE(u.read_up_to, 0))"
_IS_UNREAD = "n.position > COALESCE(t.read_up_to, 0)"
_NO_OWN_ROW = (
    "NOT EXISTS (SELECT 1 FROM own_notifications o"
    " WHERE o.user_id = m.user_id AND o.room_nid = n.room_nid AND o.position = n.position)"
)


def _unread(members: str, up_to: str) -> str:
    """SQL of the unread counts by user, room and thread. members: which memberships; up_to: the last position that counts."""
    return (
        "SELECT user_id, room_nid, thread_id, SUM(notifies), SUM(highlights), SUM(calls) FROM ("
        " SELECT m.user_id, m.room_nid, n.thread_id, 1 AS notifies, n.highlights, n.calls"
        f" {_MEMBER} JOIN notifications n ON n.room_nid = m.room_nid AND n.position > {_FROM_HERE} {_THREAD} {_SUM}"
        f" WHERE m.membership = 'join' AND {members} AND n.sender <> m.user_id AND {_IS_UNREAD} AND {_NOT_IN_SUM}"
        f" AND n.position <= {up_to} AND {_NO_OWN_ROW}"
        " UNION ALL SELECT m.user_id, m.room_nid, n.thread_id, n.notifies, n.highlights, n.calls"
        f" {_MEMBER} JOIN own_notifications n ON n.user_id = m.user_id AND n.room_nid = m.room_nid"
        f" AND n.position > {_FROM_HERE} {_THREAD} {_SUM}"
        f" WHERE m.membership = 'join' AND {members} AND n.notifies > 0 AND {_IS_UNREAD} AND {_NOT_IN_SUM}"
        f" AND n.position <= {up_to}"
        " UNION ALL SELECT m.user_id, m.room_nid, n.thread_id, n.notifies, n.highlights, n.calls"
        f" {_MEMBER} JOIN earlier_notifications n ON n.user_id = m.user_id AND n.room_nid = m.room_nid"
        f" AND n.up_to > {_FROM_HERE} {_THREAD}"
        f" WHERE m.membership = 'join' AND {members} AND n.up_to > COALESCE(t.read_up_to, 0)"
        ") AS unread GROUP BY user_id, room_nid, thread_id"
    )


_OF_USER = _unread("m.user_id = $1 AND m.room_nid = ANY($2)", "$3")
_OF_ALL_ROOMS = _unread("m.user_id = $1", "$2")
_OF_MEMBERS = _unread("m.room_nid = $1 AND m.server = $2 AND m.user_id = ANY($4)", "$3")


async def unread(
    tx: Transaction, user_id: str, room_nids: Collection[int] | None, up_to: int
) -> dict[int, dict[str, Unread]]:
    """What a user has not read up to a position, by room and thread ID, in these of the rooms that the user is joined to.

    room_nids: None for all of them. Threads and rooms without any are left out.
    """
    if room_nids is None:
        rows = await tx.fetch(_OF_ALL_ROOMS, user_id, up_to)
    elif room_nids:
        rows = await tx.fetch(_OF_USER, user_id, list(room_nids), up_to)
    else:
        rows = []
    found: dict[int, dict[str, Unread]] = {}
    for _, room_nid, thread_id, notifies, highlights, calls in rows:
        found.setdefault(room_nid, {})[thread_id] = Unread(int(notifies), int(highlights), int(calls))
    return found


_COLUMNS = "n.position, n.room_nid, n.event_nid, n.actions, n.ts"
_READ = "GREATEST(COALESCE(u.read_up_to, 0), COALESCE(t.read_up_to, 0))"
# An invite is read when the room is joined. There are no marks where there is no room.
_OWN = (
    "FROM own_notifications n LEFT JOIN memberships m ON m.room_nid = n.room_nid AND m.user_id = n.user_id"
    " LEFT JOIN notification_marks u ON u.user_id = n.user_id AND u.room_nid = n.room_nid AND u.thread_id = ''"
    " LEFT JOIN notification_marks t ON t.user_id = n.user_id AND t.room_nid = n.room_nid AND t.thread_id = n.thread_id"
    " WHERE n.user_id = $1 AND n.notifies > 0 AND (n.room_nid = 0 OR m.membership IN ('join', 'invite'))"
)
_OWN_READ = f"GREATEST({_READ}, CASE WHEN m.membership = 'join' THEN m.position ELSE 0 END)"


async def of_user(
    tx: Transaction,
    user_id: str,
    *,
    after: int = 0,
    before: int,
    limit: int,
    highlights: bool = False,
    newest_first: bool = True,
) -> list[Notification]:
    """The notifications of a user at positions between `after` and `before`, both left out.

    highlights: only those that are highlighted.
    """
    rows = await tx.fetch(
        "SELECT * FROM ("
        f" SELECT {_COLUMNS}, CASE WHEN n.position <= {_READ} THEN 1 ELSE 0 END AS is_read, n.highlights"
        f" {_MEMBER} JOIN notifications n ON n.room_nid = m.room_nid AND n.position > GREATEST(m.position, $2::bigint)"
        f" {_THREAD} WHERE m.user_id = $1 AND m.membership = 'join' AND n.sender <> $1 AND n.position < $3"
        f" AND {_NO_OWN_ROW}"
        f" UNION ALL SELECT {_COLUMNS}, CASE WHEN n.position <= {_OWN_READ} THEN 1 ELSE 0 END AS is_read, n.highlights"
        f" {_OWN} AND n.position > $2 AND n.position < $3"
        f") AS mine WHERE highlights >= $4 ORDER BY position {'DESC' if newest_first else 'ASC'} LIMIT $5",
        user_id,
        after,
        before,
        int(highlights),
        limit,
    )
    return [_notification(row) for row in rows]


def _notification(row: Row) -> Notification:
    return Notification(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


async def fold_bound(tx: Transaction, room_nid: int, keep: int) -> int | None:
    """Up to which position sums are to take the place of a room's notifications, so that the newest `keep` stay; None when there
    are not more.

    First the members' sums are made (`fold_members`), in as many steps as one likes, then the rows go (`remove_folded`). Between
    the steps the counts are right: a sum stands for the rows that it was made of as soon as it is there.
    """
    bound: int | None = await tx.fetch_value(
        "SELECT position FROM ("
        "SELECT position FROM notifications WHERE room_nid = $1"
        " UNION SELECT position FROM own_notifications WHERE room_nid = $1"
        ") AS every ORDER BY position DESC LIMIT 1 OFFSET $2",
        room_nid,
        keep,
    )
    return bound


async def fold_members(
    tx: Transaction, room_nid: int, server_name: str, bound: int, after: str, limit: int
) -> str | None:
    """Make the sums up to `bound` of the next `limit` of our members after a user ID; the last of them, None when there is none.

    server_name: ours. What was not read keeps counting until it is read whole.
    """
    rows = await tx.fetch(
        "SELECT user_id FROM memberships WHERE room_nid = $1 AND server = $2 AND membership = 'join' AND user_id > $3"
        " ORDER BY user_id LIMIT $4",
        room_nid,
        server_name,
        after,
        limit,
    )
    if not rows:
        return None
    user_ids = [row[0] for row in rows]
    sums = await tx.fetch(_OF_MEMBERS, room_nid, server_name, bound, user_ids)
    await tx.execute(
        "DELETE FROM earlier_notifications WHERE room_nid = $1 AND user_id = ANY($2)", room_nid, user_ids
    )
    await tx.execute_many(
        "INSERT INTO earlier_notifications (user_id, room_nid, thread_id, notifies, highlights, calls, up_to)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(row[0], row[1], row[2], int(row[3]), int(row[4]), int(row[5]), bound) for row in sums],
    )
    return str(user_ids[-1])


async def remove_folded(tx: Transaction, room_nid: int, bound: int, limit: int) -> bool:
    """Remove the rows up to `bound`, of which the sums are made: of those of single users at most `limit`. Whether there may be
    more."""
    # Before those of single users, which say for whom these are otherwise.
    await tx.execute("DELETE FROM notifications WHERE room_nid = $1 AND position <= $2", room_nid, bound)
    removed = await tx.execute(
        "DELETE FROM own_notifications WHERE (user_id, room_nid, position) IN ("
        "SELECT user_id, room_nid, position FROM own_notifications WHERE room_nid = $1 AND position <= $2 LIMIT $3)",
        room_nid,
        bound,
        limit,
    )
    # Sums of users who are not in the room any more.
    removed_sums = await tx.execute(
        "DELETE FROM earlier_notifications WHERE (room_nid, user_id, thread_id) IN ("
        "SELECT room_nid, user_id, thread_id FROM earlier_notifications WHERE room_nid = $1 AND up_to < $2 LIMIT $3)",
        room_nid,
        bound,
        limit,
    )
    return removed == limit or removed_sums == limit


async def take_over_invite(
    tx: Transaction, user_id: str, room_nid: int, event_nid: int, *, room_id: str, event_id: str
) -> bool:
    """An invite from outside has come to the room's graph too: its notification is the room's now. False when there is none."""
    moved = await tx.execute(
        "UPDATE own_notifications SET room_nid = $1, event_nid = $2 WHERE user_id = $3 AND room_nid = $4 AND position = ("
        "SELECT position FROM out_of_room_memberships WHERE user_id = $3 AND room_id = $5 AND event_id = $6)",
        room_nid,
        event_nid,
        user_id,
        NO_ROOM,
        room_id,
        event_id,
    )
    return bool(moved)


async def forget_old_invites(tx: Transaction, user_id: str, keep: int) -> None:
    """Keep the newest `keep` notifications of a user about invites to rooms that we are not in."""
    await tx.execute(
        "DELETE FROM own_notifications WHERE user_id = $1 AND room_nid = $2 AND position <= ("
        "SELECT position FROM own_notifications WHERE user_id = $1 AND room_nid = $2 ORDER BY position DESC LIMIT 1 OFFSET $3)",
        user_id,
        NO_ROOM,
        keep,
    )
