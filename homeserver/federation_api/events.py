"""Retrieving events and the state of rooms.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeserver.config import ServerSettings
from homeserver.federation_api.answers import event_id_of, pdus, room_id_of, transaction
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.events_by_time import EventsByTime
from homeserver.services.history_answers import HistoryAnswers
from homeserver.services.state_answers import StateAnswers


class StateQuery(msgspec.Struct, frozen=True):
    """At which event."""

    event_id: str


class TimestampQuery(msgspec.Struct, frozen=True):
    """From which time on (milliseconds since the epoch), and whether forwards or backwards."""

    ts: int
    dir: Literal["f", "b"]


@endpoint("GET", "/_matrix/federation/v1/state/{room_id}", auth=SIGNED_REQUEST)
async def get_room_state(
    request: Request, room_id: str, query: StateQuery, states: StateAnswers
) -> dict[str, Any]:
    """The state of a room before an event, with its auth chain.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
    """
    before = await states.state(request.origin, room_id_of(room_id), event_id_of(query.event_id))
    return {"pdus": pdus(before.state), "auth_chain": pdus(before.auth_chain)}


@endpoint("GET", "/_matrix/federation/v1/state_ids/{room_id}", auth=SIGNED_REQUEST)
async def get_room_state_ids(
    request: Request, room_id: str, query: StateQuery, states: StateAnswers
) -> dict[str, Any]:
    """The state of a room before an event, with its auth chain, as event IDs.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
    """
    before = await states.state(request.origin, room_id_of(room_id), event_id_of(query.event_id))
    return {
        "pdu_ids": [event.event_id for event in before.state],
        "auth_chain_ids": [event.event_id for event in before.auth_chain],
    }


@endpoint("GET", "/_matrix/federation/v1/event/{event_id}", auth=SIGNED_REQUEST)
async def get_event(
    request: Request, event_id: str, history: HistoryAnswers, settings: ServerSettings
) -> dict[str, Any]:
    """A single event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
    """
    return transaction(settings.server_name, [await history.event(request.origin, event_id_of(event_id))])


@endpoint("GET", "/_matrix/federation/v1/timestamp_to_event/{room_id}", auth=SIGNED_REQUEST)
async def get_event_by_timestamp(
    request: Request, room_id: str, query: TimestampQuery, events: EventsByTime
) -> dict[str, Any]:
    """The event closest to a time.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
    """
    found = await events.nearest_for_server(
        request.origin, room_id_of(room_id), query.ts, backwards=query.dir == "b"
    )
    return {"event_id": found.event_id, "origin_server_ts": found.origin_server_ts}
