"""Which rooms are in the answer, and from where on each is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from homeserver.services.sync.account_data import Events, account_data_news, account_data_of_rooms
from homeserver.services.sync.ephemeral import ephemeral_news
from homeserver.services.sync.presence import presence_news
from homeserver.services.sync.request import Reader
from homeserver.services.sync.unread import ByThread, unread_by_room
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, notifications, out_of_room, rooms
from homeserver.storage.memberships import Membership
from homeserver.storage.out_of_room import OutOfRoom


@dataclass(frozen=True, slots=True)
class PlannedRoom:
    """A room to be shown. since: the position that the reader has seen it up to; None when all of it is new to the reader.

    is_quiet: nothing has happened in its graph since then. unread: notifications of it that the user has not read, by thread.
    """

    membership: Membership
    since: int | None
    account_data: Events = field(default_factory=list)
    ephemeral: Events = field(default_factory=list)
    is_quiet: bool = False
    unread: ByThread = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """The rooms of each section of the answer, and the joined rooms that the filter lets through (to be woken by them).

    outside: invites and knocks, and what ended them, that the rooms' graphs do not tell us of. account_data: what belongs to no
    room.
    """

    joined: list[PlannedRoom] = field(default_factory=list)
    left: list[PlannedRoom] = field(default_factory=list)
    invited: list[Membership] = field(default_factory=list)
    knocked: list[Membership] = field(default_factory=list)
    outside: list[OutOfRoom] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    account_data: Events = field(default_factory=list)
    presence: Events = field(default_factory=list)


async def plan(reader: Reader) -> Plan:
    """Decide which rooms to show."""
    made = Plan()
    request = reader.request
    since, wanted = request.since, request.filter.room
    mine = await memberships.of_user(reader.tx, reader.user_id, ("join",))
    shown = [membership for membership in mine if wanted.allows_room(membership.room_id)]
    made.watched = [membership.room_id for membership in shown]
    if since is None or request.full_state:
        changed = {membership.room_nid for membership in shown}
    else:
        nids = [membership.room_nid for membership in shown]
        changed = await stored_events.rooms_changed(reader.tx, nids, since, reader.position)
        changed |= await rooms.states_changed(reader.tx, nids, since, reader.position)
    read = set() if since is None else await notifications.marks_changed(reader.tx, reader.user_id, since)
    news = await account_data_news(reader)
    made.account_data = news.everywhere
    new = {membership.room_id for membership in shown if since is not None and membership.position > since}
    private = {**news.rooms, **await account_data_of_rooms(reader, new)}
    passing = await ephemeral_news(reader, shown, new)
    planned = []
    for membership in shown:
        own, ephemeral = private.get(membership.room_id, []), passing.get(membership.room_id, [])
        is_quiet = membership.room_nid not in changed
        if membership.room_id in new:
            planned.append(PlannedRoom(membership, None, own, ephemeral))
        elif not is_quiet or own or ephemeral or membership.room_nid in read:
            planned.append(PlannedRoom(membership, since, own, ephemeral, is_quiet))
    unread = await unread_by_room(reader, [room.membership.room_nid for room in planned])
    made.joined = [replace(room, unread=unread.get(room.membership.room_nid, {})) for room in planned]
    numbers = {membership.room_id: membership.room_nid for membership in mine}
    made.presence = await presence_news(reader, numbers.values(), [numbers[room_id] for room_id in new])
    await _plan_others(reader, made, private)
    return made


async def _plan_others(reader: Reader, made: Plan, private: Mapping[str, Events]) -> None:
    """The rooms that the user is not joined to: those where that is news, and where all is asked for the invites and knocks (and
    what was left, where the filter asks for it)."""
    request = reader.request
    since, wanted = request.since, request.filter.room
    after = -1 if since is None or request.full_state else since
    from_outside = await out_of_room.of_user(reader.tx, reader.user_id)
    overtaken = {record.room_id for record in from_outside}
    made.outside = [record for record in from_outside if _is_shown(reader, record)]
    for membership in await memberships.of_user(reader.tx, reader.user_id, ("invite", "knock"), after=after):
        if membership.membership == "invite" and not reader.unwanted.lets_invite(membership.sender):
            continue
        if wanted.allows_room(membership.room_id) and membership.room_id not in overtaken:
            (made.invited if membership.membership == "invite" else made.knocked).append(membership)
    if since is None and not wanted.include_leave:
        return
    after = -1 if since is None else since
    left = await memberships.of_user(reader.tx, reader.user_id, ("leave", "ban"), after=after)
    if since is not None and (ended := await out_of_room.ended_meanwhile(reader.tx, reader.user_id, since)):
        every = await memberships.of_user(reader.tx, reader.user_id, ("leave", "ban"))
        left += [membership for membership in every if membership.room_id in ended]
    for membership in left:
        # A room that one device forgets has to leave the lists of the others first.
        is_told = since is not None or not membership.forgotten
        if is_told and wanted.allows_room(membership.room_id) and membership.room_id not in overtaken:
            own = private.get(membership.room_id, [])
            made.left.append(PlannedRoom(membership, since, own))


def _is_shown(reader: Reader, record: OutOfRoom) -> bool:
    """Whether a membership from outside belongs into the answer."""
    request = reader.request
    since, wanted = request.since, request.filter.room
    if not wanted.allows_room(record.room_id):
        return False
    if record.membership == "invite" and not reader.unwanted.lets_invite(record.event.sender):
        return False
    is_new = since is not None and record.position > since
    if record.membership in ("invite", "knock"):
        return is_new or since is None or request.full_state
    return is_new or (since is None and wanted.include_leave and not record.forgotten)
