"""How many notifications of a room the user has not read, and of its threads.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from collections.abc import Collection, Mapping
from typing import Any

from homeserver.core.receipts import MAIN
from homeserver.services.sync.request import Reader
from homeserver.storage import notifications
from homeserver.storage.notifications import Unread

ByThread = Mapping[str, Unread]
"""By thread ID, `main` for what is in no thread."""


async def unread_by_room(reader: Reader, room_nids: Collection[int]) -> Mapping[int, ByThread]:
    """What is unread in these rooms, by their numbers; rooms where nothing is are left out."""
    return await notifications.unread(reader.tx, reader.user_id, room_nids, reader.position)


def unread_sections(reader: Reader, unread: ByThread) -> dict[str, Any]:
    """The sections of a joined room that say how much is unread.

    With `unread_thread_notifications` in the filter of the timeline "these counts will only be for the main timeline".
    """
    if not reader.request.filter.room.timeline.unread_thread_notifications:
        return {"unread_notifications": _counts(sum(unread.values(), Unread()))}
    sections: dict[str, Any] = {"unread_notifications": _counts(unread.get(MAIN, Unread()))}
    threads = {root: _counts(count) for root, count in unread.items() if root != MAIN}
    if threads:
        sections["unread_thread_notifications"] = threads
    return sections


def _counts(unread: Unread) -> dict[str, int]:
    return {"notification_count": unread.notifications, "highlight_count": unread.highlights}
