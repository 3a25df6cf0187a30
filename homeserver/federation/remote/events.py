"""Fetching events and state.

All PDUs are parsed by the rules of the room's version and must belong to the room; hashes and signatures are
the caller's to check. Lists come with the reasons why some entries are not valid events.

Spec: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_event_id
from homeserver.core.room_versions import RoomRules
from homeserver.federation.remote.answers import (
    PDUs,
    as_object,
    field,
    invalid,
    items,
    one_pdu,
    pdus,
)
from homeserver.federation.settings import MEGABYTE
from homeserver.federation.transport import FederationClient, Query, matrix_path

STATE_BYTES = 150 * MEGABYTE
STATE_TIMEOUT = 300.0
_MAX_IDS = 1_000_000


@dataclass(frozen=True)
class RoomState:
    """The state of a room before an event, and the auth chain of that state."""

    state: PDUs
    auth_chain: PDUs


@dataclass(frozen=True)
class RoomStateIDs:
    """As `RoomState`, event IDs only."""

    state: tuple[str, ...]
    auth_chain: tuple[str, ...]


@dataclass(frozen=True)
class NearestEvent:
    """The event closest to a time, which is in milliseconds since the epoch."""

    event_id: str
    origin_server_ts: int


async def _get(
    client: FederationClient,
    destination: str,
    path: str,
    query: Query = (),
    *,
    timeout: float | None = None,
    max_response_bytes: int | None = None,
) -> dict[str, Any]:
    answer = await client.request(
        destination, "GET", path, query=query, timeout=timeout, max_response_bytes=max_response_bytes
    )
    return as_object(destination, answer)


async def get_event(
    client: FederationClient, destination: str, event_id: str, rules: RoomRules, room_id: str
) -> Event:
    """One event, which is the one that was asked for.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
    """
    answer = await _get(client, destination, matrix_path("_matrix", "federation", "v1", "event", event_id))
    found = field(destination, answer, "pdus", list)
    if len(found) != 1:
        raise invalid(destination, f"it has {len(found)} events instead of one")
    return one_pdu(destination, found[0], rules, room_id, event_id)


async def backfill(
    client: FederationClient,
    destination: str,
    room_id: str,
    rules: RoomRules,
    *,
    before: Collection[str],
    limit: int,
) -> PDUs:
    """The events `before` (event IDs) and those before them, at most `limit` in all.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
    """
    path = matrix_path("_matrix", "federation", "v1", "backfill", room_id)
    query = [*(("v", event_id) for event_id in before), ("limit", str(limit))]
    answer = await _get(client, destination, path, query)
    return await pdus(destination, answer, "pdus", rules, room_id, history=True)


async def get_missing_events(
    client: FederationClient,
    destination: str,
    room_id: str,
    rules: RoomRules,
    *,
    earliest: Collection[str],
    latest: Collection[str],
    limit: int = 10,
    min_depth: int = 0,
) -> PDUs:
    """The events between `earliest` (which we have) and `latest` (whose predecessors we lack).

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
    """
    body = {
        "earliest_events": list(earliest),
        "latest_events": list(latest),
        "limit": limit,
        "min_depth": min_depth,
    }
    path = matrix_path("_matrix", "federation", "v1", "get_missing_events", room_id)
    answer = as_object(destination, await client.request(destination, "POST", path, body=body))
    return await pdus(destination, answer, "events", rules, room_id)


async def get_state(
    client: FederationClient,
    destination: str,
    room_id: str,
    event_id: str,
    rules: RoomRules,
    *,
    timeout: float = STATE_TIMEOUT,
    max_response_bytes: int = STATE_BYTES,
) -> RoomState:
    """The state of the room before an event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
    """
    answer = await _get(
        client,
        destination,
        matrix_path("_matrix", "federation", "v1", "state", room_id),
        {"event_id": event_id},
        timeout=timeout,
        max_response_bytes=max_response_bytes,
    )
    return RoomState(
        await pdus(destination, answer, "pdus", rules, room_id),
        await pdus(destination, answer, "auth_chain", rules, room_id),
    )


async def get_state_ids(
    client: FederationClient,
    destination: str,
    room_id: str,
    event_id: str,
    *,
    timeout: float = STATE_TIMEOUT,
    max_response_bytes: int = STATE_BYTES,
) -> RoomStateIDs:
    """The event IDs of the state of the room before an event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
    """
    answer = await _get(
        client,
        destination,
        matrix_path("_matrix", "federation", "v1", "state_ids", room_id),
        {"event_id": event_id},
        timeout=timeout,
        max_response_bytes=max_response_bytes,
    )
    return RoomStateIDs(
        items(destination, answer, "pdu_ids", is_valid_event_id, _MAX_IDS),
        items(destination, answer, "auth_chain_ids", is_valid_event_id, _MAX_IDS),
    )


async def get_event_auth(
    client: FederationClient, destination: str, room_id: str, event_id: str, rules: RoomRules
) -> PDUs:
    """The complete auth chain of an event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
    """
    path = matrix_path("_matrix", "federation", "v1", "event_auth", room_id, event_id)
    answer = await _get(client, destination, path)
    return await pdus(destination, answer, "auth_chain", rules, room_id)


async def timestamp_to_event(
    client: FederationClient, destination: str, room_id: str, timestamp: int, direction: Literal["f", "b"]
) -> NearestEvent:
    """The event closest to `timestamp` (milliseconds since the epoch), forwards or backwards from it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
    """
    path = matrix_path("_matrix", "federation", "v1", "timestamp_to_event", room_id)
    answer = await _get(client, destination, path, {"ts": str(timestamp), "dir": direction})
    event_id = field(destination, answer, "event_id", str)
    if not is_valid_event_id(event_id):
        raise invalid(destination, "event_id is not an event ID")
    return NearestEvent(event_id, field(destination, answer, "origin_server_ts", int))
