"""Events of other servers, made on any place of a room's graph and offered to it, without federation."""

from collections.abc import Mapping, Sequence
from typing import Any

from signedjson.key import generate_signing_key

from homeserver.core.auth_rules import auth_keys
from homeserver.core.events import Event, make_event, reference_to
from homeserver.core.identifiers import domain_of
from homeserver.core.room_versions import EventIDFormat
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import GraphWriter, Outcome
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from tests.support.rooms import RoomServices

KEY = generate_signing_key("elsewhere")
_numbers = iter(range(10**9))


async def room_of(services: RoomServices, room_id: str) -> Room:
    """The room as it stands."""
    room = await services.database.read(lambda tx: rooms.get(tx, room_id))
    assert room is not None
    return room


async def stored(services: RoomServices, event_id: str) -> StoredEvent:
    """An event that is in the database."""
    found = await services.database.read(lambda tx: stored_events.get(tx, event_id))
    assert found is not None
    return found


async def ends(services: RoomServices, room_id: str) -> set[str]:
    """The IDs of the room's forward extremities."""
    room = await room_of(services, room_id)
    return set(await services.database.read(lambda tx: rooms.forward_extremities(tx, room.room_nid)))


async def gaps(services: RoomServices, room_id: str) -> set[str]:
    """The IDs of the room's backward extremities."""
    room = await room_of(services, room_id)
    return set(await services.database.read(lambda tx: rooms.backward_extremities(tx, room.room_nid)))


async def current_state(services: RoomServices, room_id: str) -> dict[tuple[str, str], str]:
    """The room's current state."""
    room = await room_of(services, room_id)
    return await services.database.read(lambda tx: services.states.all_ids(tx, room.current_state))


async def event_after(
    services: RoomServices,
    room_id: str,
    prev: Sequence[Event],
    sender: str,
    type: str,
    content: Mapping[str, Any],
    state_key: str | None = None,
    *,
    redacts: str | None = None,
    auth: Sequence[Event] | None = None,
    state_of: Event | None = None,
    event_id: str | None = None,
) -> Event:
    """An event after `prev`, authorised by the state after `state_of` (the last of `prev`) unless `auth` says by what."""
    room = await room_of(services, room_id)
    rules = room.rules

    async def authorising(tx: Transaction) -> list[Event]:
        base = await stored_events.get(tx, (state_of or prev[-1]).event_id)
        assert base is not None and base.state_after is not None
        keys = auth_keys(rules, type, sender, state_key, content)
        return list((await services.states.events(tx, base.state_after, keys)).values())

    if auth is None:
        auth = await services.database.read(authorising)
    chosen = rules.event_id_format is EventIDFormat.SERVER_CHOSEN
    services.clock.now += 1
    return make_event(
        rules,
        server_name=domain_of(sender),
        signing_key=KEY,
        room_id=room_id,
        type=type,
        sender=sender,
        content=content,
        state_key=state_key,
        prev_events=[reference_to(event) for event in prev],
        auth_events=[reference_to(event) for event in auth],
        depth=max((event.depth for event in prev), default=0) + 1,
        origin_server_ts=services.clock.now,
        redacts=redacts,
        event_id=(event_id or f"$made{next(_numbers)}:{domain_of(sender)}") if chosen else None,
    )


async def offer(services: RoomServices, room_id: str, *events: Event, **options: Any) -> list[Outcome]:
    """Offer events to the room's graph in one unit of work."""

    async def work(tx: Transaction) -> tuple[list[Outcome], Committed]:
        room = await rooms.get(tx, room_id)
        assert room is not None
        writer = await GraphWriter.open(tx, services.states, services.server_name, room)
        outcomes = [await writer.add(event, **options) for event in events]
        return outcomes, await writer.close()

    return await services.writes.run(room_id, work)


async def end_of(services: RoomServices, room_id: str) -> Event:
    """The one forward extremity of the room."""
    (event_id,) = await ends(services, room_id)
    return (await stored(services, event_id)).event


async def joined_from(services: RoomServices, room_id: str, user_id: str) -> Event:
    """A user of another server joins; returns the join, which is the end of the graph then."""
    end = await end_of(services, room_id)
    join = await event_after(
        services, room_id, [end], user_id, "m.room.member", {"membership": "join"}, user_id
    )
    (outcome,) = await offer(services, room_id, join)
    assert outcome.refusal is None
    return join
