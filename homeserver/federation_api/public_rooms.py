"""Our published room directory, for other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.config import FederationSettings
from homeserver.core.errors import forbidden
from homeserver.http import SIGNED_REQUEST, endpoint
from homeserver.services.public_rooms import PublicRooms, RoomsQuery, SearchBody

PATH = "/_matrix/federation/v1/publicRooms"


class PublicRoomsQuery(Struct):
    """How many rooms (0: as many as we like), from which token on, and of which networks."""

    limit: Annotated[int, Meta(ge=0)] = 0
    since: str | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


@endpoint("GET", PATH, auth=SIGNED_REQUEST)
async def get_public_rooms(
    query: PublicRoomsQuery, public_rooms: PublicRooms, settings: FederationSettings
) -> dict[str, Any]:
    """A page of our directory.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
    """
    _check_allowed(settings)
    return await public_rooms.page(
        None,
        RoomsQuery(
            query.limit or None,
            query.since,
            include_all_networks=query.include_all_networks,
            third_party_instance_id=query.third_party_instance_id,
        ),
    )


@endpoint("POST", PATH, auth=SIGNED_REQUEST)
async def query_public_rooms(
    body: SearchBody, public_rooms: PublicRooms, settings: FederationSettings
) -> dict[str, Any]:
    """Search our directory.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
    """
    _check_allowed(settings)
    return await public_rooms.page(None, body.query())


def _check_allowed(settings: FederationSettings) -> None:
    if not settings.allow_public_rooms_over_federation:
        raise forbidden("This server does not show its room directory to other servers")
