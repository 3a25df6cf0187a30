"""The `ephemeral` of joined rooms: how far their members have read them, and who is typing.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receipts
Spec: https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from collections.abc import Collection, Sequence
from typing import Final

from homeserver.core.receipts import RECEIPT, Read, receipt_events
from homeserver.services.sync.account_data import Events
from homeserver.services.sync.request import Reader
from homeserver.services.typing import TYPING
from homeserver.storage import receipts as stored_receipts
from homeserver.storage.memberships import Membership

MAX_RECEIPTS: Final = 1_000
"""Of one room: the newest. Where the room is new to the reader, the reader's own are shown besides."""


async def ephemeral_news(
    reader: Reader, rooms: Sequence[Membership], new: Collection[str]
) -> dict[str, Events]:
    """What is to be shown of joined rooms, by room ID: what has changed since the last answer, and all there is of the rooms
    that are `new` (room IDs) to the reader."""
    wanted = reader.request.filter.room.ephemeral
    shown = [membership for membership in rooms if wanted.allows_room(membership.room_id)]
    if not shown or wanted.limit == 0:
        return {}
    news: dict[str, Events] = {}
    if wanted.allows(RECEIPT, None, {}):
        for room_id, receipts in (await _receipts(reader, shown, new)).items():
            news[room_id] = receipt_events(receipts)
    if wanted.allows(TYPING, None, {}):
        for membership in shown:
            _add_typing(reader, membership.room_id, news, is_new=membership.room_id in new)
    if wanted.limit is not None:
        news = {room_id: events[-wanted.limit :] for room_id, events in news.items()}
    return news


def _add_typing(reader: Reader, room_id: str, news: dict[str, Events], *, is_new: bool) -> None:
    ignored = reader.unwanted.ignored
    if any(user_id not in ignored for user_id in reader.typing.now.get(room_id, ())):
        reader.typing_rooms.add(room_id)
    users = reader.typing.of(room_id, is_new=is_new)
    if users is None or (room_id not in reader.typing_rooms and reader.request.typing is None):
        return
    shown = [user_id for user_id in users if user_id not in ignored]
    news.setdefault(room_id, []).append({"type": TYPING, "content": {"user_ids": shown}})


async def _receipts(
    reader: Reader, rooms: Sequence[Membership], new: Collection[str]
) -> dict[str, list[Read]]:
    """The receipts that the reader may see, by room ID; oldest change first."""
    since = -1 if reader.request.since is None else reader.request.since
    seen = [membership.room_nid for membership in rooms if since >= 0 and membership.room_id not in new]
    unseen = [membership.room_nid for membership in rooms if since < 0 or membership.room_id in new]
    found = await stored_receipts.own(reader.tx, reader.user_id, unseen)
    found += await stored_receipts.shown_to(reader.tx, reader.user_id, unseen, -1, MAX_RECEIPTS)
    found += await stored_receipts.shown_to(reader.tx, reader.user_id, seen, since, MAX_RECEIPTS)
    by_room: dict[str, list[Read]] = {}
    for stored in found:
        if stored.read.user_id in reader.unwanted.ignored or stored.position > reader.position:
            continue
        by_room.setdefault(stored.read.room_id, []).append(stored.read)
    return by_room
