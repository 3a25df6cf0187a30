"""Backfilling and retrieving missing events.

Spec: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.config import ServerSettings
from homeserver.federation_api.answers import event_id_of, pdus, room_id_of, transaction
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.history_answers import HistoryAnswers


class BackfillQuery(msgspec.Struct, frozen=True):
    """From which events on, and how many."""

    v: list[str]
    limit: int


class MissingEventsRequest(msgspec.Struct, frozen=True):
    """Between which events, and how many."""

    earliest_events: list[str]
    latest_events: list[str]
    limit: int = 10
    min_depth: int = 0


@endpoint("GET", "/_matrix/federation/v1/backfill/{room_id}", auth=SIGNED_REQUEST)
async def backfill_room(
    request: Request, room_id: str, query: BackfillQuery, history: HistoryAnswers, settings: ServerSettings
) -> dict[str, Any]:
    """The events given, and those before them.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
    """
    start = [event_id_of(event_id) for event_id in query.v]
    events = await history.backfill(request.origin, room_id_of(room_id), start, query.limit)
    return transaction(settings.server_name, events)


@endpoint("POST", "/_matrix/federation/v1/get_missing_events/{room_id}", auth=SIGNED_REQUEST)
async def get_missing_previous_events(
    request: Request, room_id: str, body: MissingEventsRequest, history: HistoryAnswers
) -> dict[str, Any]:
    """The events between what the asking server has and what it was sent.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
    """
    events = await history.missing_events(
        request.origin,
        room_id_of(room_id),
        earliest=[event_id_of(event_id) for event_id in body.earliest_events],
        latest=[event_id_of(event_id) for event_id in body.latest_events],
        limit=body.limit,
        min_depth=body.min_depth,
    )
    return {"events": pdus(events)}
