"""The `presence` of the answer: that of the reader, and of those who share rooms with the reader.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from homeserver.core.presence import PRESENCE
from homeserver.services.presence import Presence
from homeserver.services.sync.account_data import Events
from homeserver.services.sync.request import Reader
from homeserver.storage import presence as stored_presence
from homeserver.storage import profiles
from homeserver.storage.presence import StoredPresence

MAX_EVENTS: Final = 2_000
"""The newest changes."""


async def presence_news(reader: Reader, room_nids: Collection[int], new_nids: Collection[int]) -> Events:
    """What has changed since the last answer, and what those present in rooms that are new to the reader are; what all are who
    are in the reader's rooms and not offline, in an initial sync and where all state is asked for.

    room_nids: the rooms that the reader is joined to; new_nids: those among them that the reader has not seen.
    """
    presence, since = reader.presence, reader.request.since
    wanted = reader.request.filter.presence
    if not presence.is_on or wanted.limit == 0:
        return []
    tx, user_id = reader.tx, reader.user_id
    if since is None or reader.request.full_state:
        found = await stored_presence.of_rooms(
            tx, user_id, room_nids, MAX_EVENTS, with_offline=presence.shows_offline_users
        )
    else:
        server_name = user_id.partition(":")[2]
        found = await stored_presence.changed_for(tx, user_id, server_name, since, MAX_EVENTS)
        if new_nids:
            found = [
                *await stored_presence.of_rooms(tx, user_id, new_nids, MAX_EVENTS, with_offline=False),
                *found,
            ]
    shown = {
        stored.user_id: stored
        for stored in found
        if wanted.allows(PRESENCE, stored.user_id)
        and stored.user_id not in reader.unwanted.ignored
        and stored.position <= reader.position
    }
    if wanted.limit is not None:
        shown = dict(list(shown.items())[-wanted.limit :])
    if not shown:
        return []
    names = await profiles.get_many(tx, shown)
    return [_event(presence, stored, names.get(stored.user_id, {})) for stored in shown.values()]


def naming_users(events: Events) -> Events:
    """The same with `user_id` in the content, where clients that do not sync look for it, and matrix-js-sdk when it peeks."""
    return [{**event, "content": {**event["content"], "user_id": event["sender"]}} for event in events]


def _event(presence: Presence, stored: StoredPresence, profile: Mapping[str, Any]) -> dict[str, Any]:
    """The event, with what the user is called, as far as we keep it.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
    """
    content = presence.content(stored.user_id, stored.state)
    content |= {name: profile[name] for name in ("displayname", "avatar_url") if name in profile}
    return {"type": PRESENCE, "sender": stored.user_id, "content": content}
