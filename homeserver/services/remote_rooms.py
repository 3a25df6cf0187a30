"""Asking other servers for the rooms that they publish.

Spec: https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import MatrixError, forbidden, unknown
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.rooms import public_rooms
from homeserver.federation.transport import FederationClient
from homeserver.services.public_rooms import RoomsQuery


class RemoteRooms:
    """The published rooms of other servers."""

    def __init__(self, client: FederationClient) -> None:
        """`client` makes the requests."""
        self._client = client

    async def public_rooms(self, server: str, query: RoomsQuery) -> dict[str, Any]:
        """A page of a server's directory in the form for clients.

        Raises M_FORBIDDEN when that server does not show it, and M_UNKNOWN (502) when it cannot be asked.
        """
        search: dict[str, Any] = {}
        if query.search:
            search["generic_search_term"] = query.search
        if query.room_types is not None:
            search["room_types"] = list(query.room_types)
        try:
            page = await public_rooms(
                self._client,
                server,
                limit=query.limit,
                since=query.since,
                search_filter=search or None,
                include_all_networks=query.include_all_networks,
                third_party_instance_id=query.third_party_instance_id,
            )
        except FederationError as error:
            raise _answer(error) from error
        answer: dict[str, Any] = {"chunk": list(page.chunk)}
        optional = {
            "next_batch": page.next_batch,
            "prev_batch": page.prev_batch,
            "total_room_count_estimate": page.total_room_count_estimate,
        }
        answer.update((name, value) for name, value in optional.items() if value is not None)
        return answer


def _answer(error: FederationError) -> MatrixError:
    """What the client is told."""
    if error.status in (401, 403):
        return forbidden(f"{error.destination} does not show its room directory: {error.reason}")
    return unknown(f"{error.destination} could not be asked for its room directory: {error.reason}", 502)
