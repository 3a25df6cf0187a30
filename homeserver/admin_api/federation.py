"""How federation goes with each server.

The protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.federation_health import FederationHealth, Wanted

DESTINATIONS = "/_synapse/admin/v1/federation/destinations"
ONE = DESTINATIONS + "/{destination}"
MAX_LIMIT = 1_000
MAX_NUMBER = 2**53
Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]


class RoomsQuery(Struct):
    """Which part of the list of rooms."""

    start: Number = field(name="from", default=0)
    limit: Number = 100
    direction: Literal["f", "b"] = field(name="dir", default="f")


class DestinationsQuery(Struct):
    """Which part of the list of destinations. destination: a part of the name."""

    start: Number = field(name="from", default=0)
    limit: Number = 100
    order_by: Literal["destination", "retry_last_ts", "retry_interval", "failure_ts", "last_success_ts"] = (
        "destination"
    )
    direction: Literal["f", "b"] = field(name="dir", default="f")
    destination: str = ""


@endpoint("GET", DESTINATIONS, auth=ACCESS_TOKEN)
async def list_destinations(
    request: Request, query: DestinationsQuery, health: FederationHealth
) -> dict[str, Any]:
    """The servers that this one sends to.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html#list-of-destinations
    """
    request.requester.check_is_admin()
    limit = min(query.limit, MAX_LIMIT)
    found, total = await health.page(
        Wanted(query.destination, query.order_by, query.direction == "b", query.start, limit)
    )
    answer: dict[str, Any] = {"destinations": found, "total": total}
    if query.start + limit < total:
        answer["next_token"] = str(query.start + len(found))
    return answer


@endpoint("GET", ONE, auth=ACCESS_TOKEN)
async def get_destination(request: Request, destination: str, health: FederationHealth) -> dict[str, Any]:
    """One server, with the last errors of its requests to this one.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html#destination-details-api
    """
    request.requester.check_is_admin()
    return await health.destination(destination)


@endpoint("GET", ONE + "/rooms", auth=ACCESS_TOKEN)
async def list_destination_rooms(
    request: Request, destination: str, query: RoomsQuery, health: FederationHealth
) -> dict[str, Any]:
    """The rooms that a server shares with this one.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html#destination-rooms
    """
    request.requester.check_is_admin()
    limit = min(query.limit, MAX_LIMIT)
    found, total = await health.rooms(destination, query.start, limit, backwards=query.direction == "b")
    answer: dict[str, Any] = {"rooms": [{"room_id": each} for each in found], "total": total}
    if query.start + limit < total:
        answer["next_token"] = str(query.start + len(found))
    return answer


@endpoint("POST", ONE + "/reset_connection", auth=ACCESS_TOKEN)
async def reset_connection(
    request: Request, destination: str, body: dict[str, Any], health: FederationHealth
) -> dict[str, Any]:
    """Try a server again at once.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/federation.html#reset-connection-timeout
    """
    request.requester.check_is_admin()
    await health.retry(destination)
    return {}
