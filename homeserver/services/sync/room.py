"""A room that the user is, or was, joined to."""

from typing import Any

from homeserver.core.state_map import EMPTY, Digest
from homeserver.core.stream_tokens import stream_token
from homeserver.services.event_access import last_stay
from homeserver.services.sync.plan import PlannedRoom
from homeserver.services.sync.request import Reader
from homeserver.services.sync.state import MEMBER, Span, lazily, render, state_changes
from homeserver.services.sync.summary import ALIAS, NAME, Summary, summary
from homeserver.services.sync.timeline import Timeline, membership_alone, timeline
from homeserver.services.sync.unread import unread_sections
from homeserver.storage import rooms
from homeserver.storage.rooms import Room


async def joined_room(reader: Reader, room: Room, planned: PlannedRoom) -> dict[str, Any] | None:
    """The section of a joined room; None when there is nothing to tell."""
    if planned.is_quiet:
        return _quiet_room(reader, planned)
    shown = await timeline(reader, room, since=planned.since, until=reader.position)
    span = await _span(reader, room, planned.since, shown, room.current_state)
    told = await _summary_if_changed(reader, room, span)
    body = await _room(reader, room, span, shown, told)
    body["account_data"] = {"events": planned.account_data}
    body["ephemeral"] = {"events": planned.ephemeral}
    body |= unread_sections(reader, planned.unread)
    if planned.since is not None and not reader.request.full_state and not told and _is_empty(body):
        return None
    if told:
        body["summary"] = told.body()
    return body


def _quiet_room(reader: Reader, planned: PlannedRoom) -> dict[str, Any]:
    """The section of a room with news that are not of its graph, which therefore need not be read."""
    return {
        "timeline": {"events": [], "limited": False, "prev_batch": stream_token(reader.position)},
        "state_after" if reader.request.use_state_after else "state": {"events": []},
        "account_data": {"events": planned.account_data},
        "ephemeral": {"events": planned.ephemeral},
        **unread_sections(reader, planned.unread),
    }


async def left_room(reader: Reader, room: Room, planned: PlannedRoom) -> dict[str, Any]:
    """The section of a room that the user has left or is banned from: as it was then, and nothing later."""
    body = await _left_room(reader, room, planned)
    body["account_data"] = {"events": planned.account_data}
    return body


async def _left_room(reader: Reader, room: Room, planned: PlannedRoom) -> dict[str, Any]:
    stay = await last_stay(reader.tx, reader.states, room.room_nid, reader.user_id)
    if stay is None or stay.ended is None or stay.ended.position is None:
        # Whoever was never joined (a refused invite, a ban from outside) does not know the room and is told of leaving alone.
        shown = await membership_alone(reader, planned.membership)
        return await _room(reader, room, Span(EMPTY, EMPTY, EMPTY), shown, None)
    since = planned.since if await _was_joined(reader, room, planned.since) else None
    shown = await timeline(reader, room, since=since, until=planned.membership.position)
    end = await rooms.state_at_position(reader.tx, room.room_nid, stay.ended.position)
    span = await _span(reader, room, since, shown, end)
    return await _room(reader, room, span, shown, None)


async def _was_joined(reader: Reader, room: Room, position: int | None) -> bool:
    """Whether the user was joined when the stream stood at a position, and so knows the room as it was then."""
    if position is None:
        return False
    root = await rooms.state_at_position(reader.tx, room.room_nid, position)
    member = await reader.states.event(reader.tx, root, MEMBER, reader.user_id)
    return member is not None and member.membership == "join"


async def _span(reader: Reader, room: Room, since: int | None, shown: Timeline, end: Digest) -> Span:
    whole = since is None or reader.request.full_state
    old = EMPTY if whole else await rooms.state_at_position(reader.tx, room.room_nid, since or 0)
    start = shown.first.state_before if shown.first and shown.first.state_before is not None else end
    return Span(old, start, end)


async def _summary_if_changed(reader: Reader, room: Room, span: Span) -> Summary | None:
    if span.old != EMPTY:
        changes = await reader.states.changes(reader.tx, span.old, span.end)
        # Heroes are for rooms without a name: it may just have lost it.
        if not any(key[0] == MEMBER or key in (NAME, ALIAS) for key in changes):
            return None
    return await summary(reader, room.room_nid, span.end)


async def _room(
    reader: Reader, room: Room, span: Span, shown: Timeline, told: Summary | None
) -> dict[str, Any]:
    changes = await state_changes(reader, span, shown)
    if reader.request.filter.room.state.lazy_load_members:
        heroes = told.heroes if told and told.heroes else ()
        changes = await lazily(reader, span, shown, changes, heroes)
    # "when the relevant section has a `limited` value of `true`": else the client gets the children one by one.
    rendering = reader.events.render_bundled if shown.limited else reader.events.render
    rendered = await rendering(reader.tx, reader.request.requester, shown.events, reader.form)
    section: dict[str, Any] = {"events": rendered, "limited": shown.limited}
    if shown.prev_batch:
        section["prev_batch"] = shown.prev_batch
    name = "state_after" if reader.request.use_state_after else "state"
    return {
        "timeline": section,
        name: {"events": await render(reader, room.room_id, changes)},
    }


def _is_empty(body: dict[str, Any]) -> bool:
    sections = ("timeline", "state", "state_after", "account_data", "ephemeral")
    return not any(body[name]["events"] for name in sections if name in body)
