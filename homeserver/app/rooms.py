"""What our clients read of rooms, and send to them."""

from __future__ import annotations

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.app.people import People
from homeserver.services.backfill import Backfill
from homeserver.services.clock import now_ms
from homeserver.services.event_stream import EventStream
from homeserver.services.events_by_time import EventsByTime
from homeserver.services.initial_sync import InitialSync
from homeserver.services.members import Members
from homeserver.services.pagination import Pagination
from homeserver.services.presence import Presence
from homeserver.services.public_rooms import PublicRooms
from homeserver.services.relations import Relations
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.room_reads import RoomReads
from homeserver.services.room_sending import RoomSending
from homeserver.services.room_summary import RoomSummary
from homeserver.services.search import Search
from homeserver.services.search_index import SearchIndex
from homeserver.services.space_hierarchy import SpaceHierarchy
from homeserver.services.summary_lookup import SummaryLookup
from homeserver.services.sync import Sync
from homeserver.services.threads_list import ThreadsList


def room_services(base: Base, graph: Graph, people: People, presence: Presence) -> list[object]:
    """What our clients read of rooms, and send to them."""
    database, states, identity = base.database, graph.states, base.identity
    client_events = graph.client_events
    backfill = Backfill(
        database, graph.writes, states, base.client, graph.received, graph.gaps, identity, now_ms
    )
    summaries = SummaryLookup(database, states, identity, RemoteSummaries(base.client, identity, now_ms))
    return [
        EventsByTime(database, states, base.client, backfill, identity),
        EventStream(database, states, client_events, base.notifier, base.typing_users, presence),
        InitialSync(database, states, client_events, presence),
        Members(database, states, client_events),
        Pagination(database, states, client_events, backfill),
        PublicRooms(database, states, identity, RemoteRooms(base.client)),
        Relations(database, states, client_events),
        RoomReads(database, states, client_events),
        RoomSummary(summaries, people.directory),
        SpaceHierarchy(summaries, now_ms),
        _search(base, graph),
        RoomSending(database, states, graph.timeline, people.membership, people.directory, identity),
        Sync(database, states, client_events, base.notifier, base.typing_users, presence),
        ThreadsList(database, states, client_events),
    ]


def _search(base: Base, graph: Graph) -> Search:
    """Searching, and what keeps the index up with the events where it is wanted."""
    enabled = base.settings.rooms.enable_search
    index = SearchIndex(base.database)
    if enabled:
        index.work.start()
        base.stack.push_async_callback(index.work.stop)
        base.observers.append(index.committed)
    return Search(base.database, graph.states, graph.client_events, index, enabled=enabled)
