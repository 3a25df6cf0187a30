"""The `account_data` of the answer and of its rooms: what the user has changed since the last answer.

Spec: https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from homeserver.core.filters import EventFilter, RoomEventFilter
from homeserver.services.push_rules import PUSH_RULES, rules_event_content
from homeserver.services.sync.request import Reader
from homeserver.storage import account_data, push_rules
from homeserver.storage.account_data import GLOBAL, AccountDatum

Events = list[dict[str, Any]]


@dataclass(slots=True)
class AccountDataNews:
    """Events as they are shown, those that the filter holds back left out. rooms: by room ID, whether the room is shown or not."""

    everywhere: Events = field(default_factory=list)
    rooms: dict[str, Events] = field(default_factory=dict)


async def account_data_news(reader: Reader) -> AccountDataNews:
    """What has changed since the last answer; all there is in an initial sync."""
    since = -1 if reader.request.since is None else reader.request.since
    changed = await account_data.changed(reader.tx, reader.user_id, since)
    everywhere = [datum for datum in changed if datum.room_id == GLOBAL]
    if await _push_rules_are_news(reader):
        content = await rules_event_content(reader.tx, reader.user_id)
        everywhere.append(AccountDatum(GLOBAL, PUSH_RULES, content, reader.position))
    return AccountDataNews(
        _events(reader, everywhere, reader.request.filter.account_data),
        _by_room(reader, (datum for datum in changed if datum.room_id != GLOBAL)),
    )


async def account_data_of_rooms(reader: Reader, room_ids: Collection[str]) -> dict[str, Events]:
    """All there is for rooms that are new to the reader."""
    if not room_ids:
        return {}
    return _by_room(reader, await account_data.of_rooms(reader.tx, reader.user_id, room_ids))


async def _push_rules_are_news(reader: Reader) -> bool:
    """They always are in an initial sync: there are rules also where nobody has changed any."""
    if reader.request.since is None:
        return True
    changed = await push_rules.changed_at(reader.tx, reader.user_id)
    return changed is not None and reader.is_news(changed)


def _by_room(reader: Reader, data: Iterable[AccountDatum]) -> dict[str, Events]:
    wanted = reader.request.filter.room.account_data
    found: dict[str, list[AccountDatum]] = {}
    for datum in data:
        if wanted.allows_room(datum.room_id):
            found.setdefault(datum.room_id, []).append(datum)
    shown = {room_id: _events(reader, each, wanted) for room_id, each in found.items()}
    return {room_id: events for room_id, events in shown.items() if events}


def _events(reader: Reader, data: Iterable[AccountDatum], wanted: EventFilter | RoomEventFilter) -> Events:
    """The newest of them, as many as the filter lets through."""
    shown = [
        {"type": datum.type, "content": msgspec.Raw(datum.content)}
        for datum in data
        if datum.position <= reader.position and _is_wanted(datum, wanted)
    ]
    return shown if wanted.limit is None else shown[len(shown) - min(wanted.limit, len(shown)) :]


def _is_wanted(datum: AccountDatum, wanted: EventFilter | RoomEventFilter) -> bool:
    if isinstance(wanted, EventFilter):
        return wanted.allows(datum.type, None)
    content = {} if wanted.contains_url is None else json.loads(datum.content)
    return wanted.allows(datum.type, None, content)
