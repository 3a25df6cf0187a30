"""What moves the graphs of rooms."""

from __future__ import annotations

import random
from dataclasses import dataclass

from homeserver.app.base import Base
from homeserver.services.client_events import ClientEvents
from homeserver.services.clock import now_ms
from homeserver.services.event_gaps import EventGaps
from homeserver.services.event_intake import EventIntake
from homeserver.services.graph_merging import GraphMerging
from homeserver.services.joins import RemoteJoins
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.membership_limits import InviteLimits, JoinLimits
from homeserver.services.outside_events import OutsideEvents
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.push.evaluation import Evaluation
from homeserver.services.push.folding import Folding
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.room_imports import RoomImports
from homeserver.services.room_inbox import RoomInbox
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.services.timeline import Timeline
from homeserver.storage.state import NodeCache


@dataclass(frozen=True, slots=True)
class Graph:
    """What moves the graphs of rooms, whoever asks for it."""

    states: RoomStates
    writes: RoomWrites
    timeline: Timeline
    received: ReceivedEvents
    gaps: EventGaps
    client_events: ClientEvents
    joins: RemoteJoins
    outside: OutsideRooms
    inbox: RoomInbox
    join_limits: JoinLimits
    invite_limits: InviteLimits


def build_graph(base: Base) -> Graph:
    """Build it."""
    database, states = base.database, RoomStates(NodeCache())
    identity, client = base.identity, base.client
    server_name = identity.server_name
    has_push = base.settings.push.push.enabled
    sequel = Evaluation(states, server_name, now_ms).follow if has_push else None
    writes = RoomWrites(database, base.after_commit, sequel)
    if has_push:
        folding = Folding(database, server_name)
        base.observers.append(folding.committed)
        folding.work.start()
        base.stack.push_async_callback(folding.work.stop)
    received = ReceivedEvents(base.key_ring)
    joining = JoinsInProgress()
    imports = RoomImports(writes, states, identity)
    gaps = EventGaps(database, writes, states, client, received)
    intake = EventIntake(writes, states, server_name, gaps)
    outside = OutsideRooms(writes, server_name)
    outside_events = OutsideEvents(received, outside, identity)
    timeline = Timeline(writes, states, identity, now_ms)
    merging = GraphMerging(database, states, timeline, identity, random.Random())
    base.observers.append(merging.committed)
    merging.work.start()
    base.stack.push_async_callback(merging.stop)
    limits = base.settings.rate_limits
    join_limits = JoinLimits(limits.rc_joins.remote, limits.rc_joins_per_room)
    base.observers.append(join_limits.committed)
    return Graph(
        states,
        writes,
        timeline,
        received,
        gaps,
        ClientEvents(states, now_ms),
        RemoteJoins(database, client, received, imports, joining, identity, now_ms),
        outside,
        RoomInbox(database, states, received, intake, joining, outside_events, server_name),
        join_limits,
        InviteLimits(limits.rc_invites),
    )
