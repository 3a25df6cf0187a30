"""The `state` of a room (or `state_after`): what changed of it, as far as the timeline does not show it."""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from homeserver.core.events import StateKey
from homeserver.core.state_map import EMPTY, Digest
from homeserver.services.event_access import SeenEvent
from homeserver.services.sync.request import Reader
from homeserver.services.sync.timeline import Timeline
from homeserver.storage import events as stored_events

MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class Span:
    """The states between which a room is shown: as the reader knows it (`old`, EMPTY for nothing), at the start of the
    timeline, and at its end."""

    old: Digest
    start: Digest
    end: Digest


async def state_changes(reader: Reader, span: Span, shown: Timeline) -> dict[StateKey, str]:
    """The entries that the reader needs beside the timeline, by event ID.

    With them and the state events of the timeline the reader arrives at the state at the end, also where state resolution and
    not an event of the timeline made it so. With `use_state_after` the timeline does not count.
    """
    at_end = await reader.states.changes(reader.tx, span.old, span.end)
    if reader.request.use_state_after:
        return {key: new for key, (_, new) in at_end.items() if new}
    in_timeline = shown.ids
    at_start = await reader.states.changes(reader.tx, span.old, span.start)
    needed = {key: new for key, (_, new) in at_start.items() if new and new not in in_timeline}
    needed.update((key, new) for key, (_, new) in at_end.items() if new and new not in in_timeline)
    return needed


async def lazily(
    reader: Reader, span: Span, shown: Timeline, changes: dict[StateKey, str], heroes: Collection[str]
) -> dict[StateKey, str]:
    """The same with only those members who are needed to show the timeline, and not those whom the device knows.

    "When a sync is limited, the server MUST return membership events for events in the gap [...] regardless as to whether or
    not they are redundant", so what changed since the last answer stays; only where all of the room is new are members left out.
    Spec: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
    """
    redundant_too = reader.request.filter.room.state.include_redundant_members
    # "MUST NOT update their local state with events in `timeline`" when they have state_after.
    in_timeline = set() if reader.request.use_state_after else shown.ids
    users = shown.senders | set(heroes)
    if span.old == EMPTY:
        users.add(reader.user_id)
        needed = {key: event_id for key, event_id in changes.items() if key[0] != MEMBER}
    else:
        needed = dict(changes)
    root = span.end if reader.request.use_state_after else span.start
    keys = [(MEMBER, user_id) for user_id in users]
    for key, event_id in (await reader.states.ids(reader.tx, root, keys)).items():
        known = event_id in reader.known_members and not redundant_too
        if key not in needed and event_id not in in_timeline and (not known or span.old == EMPTY):
            needed[key] = event_id
    reader.sent_members.update(event_id for key, event_id in needed.items() if key[0] == MEMBER)
    return needed


async def render(reader: Reader, room_id: str, changes: dict[StateKey, str]) -> list[msgspec.Raw]:
    """The state events that the filter lets through, in the form for clients."""
    wanted = reader.request.filter.room.state
    if not wanted.allows_room(room_id):
        return []
    found = await stored_events.get_many(reader.tx, changes.values())
    chosen = [
        SeenEvent(stored, None)
        for stored in (found[event_id] for event_id in changes.values() if event_id in found)
        if wanted.allows(stored.event.type, stored.event.sender, stored.event.content)
    ]
    return await reader.events.render(reader.tx, reader.request.requester, chosen, reader.form)
