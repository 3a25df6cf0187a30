"""Asking other servers where their aliases lead and what their users' profiles say.

Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

from __future__ import annotations

from typing import Any

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.identifiers import domain_of
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.queries import query_directory, query_profile
from homeserver.federation.transport import FederationClient


class RemoteDirectory:
    """Aliases and profiles of other servers."""

    def __init__(self, client: FederationClient) -> None:
        """`client` makes the requests."""
        self._client = client

    async def resolve(self, room_alias: str) -> tuple[str, list[str]]:
        """The room ID of an alias of another server, and servers that are in the room; its own server is the first.

        Raises M_NOT_FOUND, and M_UNKNOWN (502) when that server cannot be asked.
        """
        server = domain_of(room_alias)
        try:
            target = await query_directory(self._client, server, room_alias)
        except FederationError as error:
            raise _answer(error, f"the room alias {room_alias}") from error
        others = [name for name in target.servers if name != server]
        # Its own server need not be in the room; the list says so when it does not name it.
        servers = [server, *others] if server in target.servers or not others else [*others, server]
        return target.room_id, servers

    async def profile(self, user_id: str, field: str | None = None) -> dict[str, Any]:
        """The profile of a user of another server, or one field of it.

        Raises M_NOT_FOUND, M_FORBIDDEN when that server does not tell, and M_UNKNOWN (502) when it cannot be asked.
        """
        try:
            return await query_profile(self._client, domain_of(user_id), user_id, field)
        except FederationError as error:
            raise _answer(error, f"the profile of {user_id}") from error


def _answer(error: FederationError, what: str) -> MatrixError:
    """What the client is told."""
    if error.status == 404:
        return errors.not_found(f"{error.destination} does not know {what}")
    if error.status == 403:
        return errors.forbidden(f"{error.destination} does not tell {what}: {error.reason}")
    return errors.unknown(f"{error.destination} could not be asked for {what}: {error.reason}", 502)
