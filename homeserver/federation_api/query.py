"""Querying for information.

Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.core.errors import unrecognized
from homeserver.http import SIGNED_REQUEST, endpoint
from homeserver.services.federation_queries import FederationQueries


class DirectoryQuery(msgspec.Struct, frozen=True):
    """Which alias."""

    room_alias: str


class ProfileQuery(msgspec.Struct, frozen=True):
    """Whose profile, and which field of it (None: all)."""

    user_id: str
    field: str | None = None


@endpoint("GET", "/_matrix/federation/v1/query/{query_type}", auth=SIGNED_REQUEST)
async def query_info(query_type: str) -> dict[str, Any]:
    """Any query that has no endpoint of its own: there is none that we know.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype
    """
    raise unrecognized(f"There is no query {query_type[:100]!r}")


@endpoint("GET", "/_matrix/federation/v1/query/directory", auth=SIGNED_REQUEST)
async def query_room_directory(query: DirectoryQuery, queries: FederationQueries) -> dict[str, Any]:
    """The room of an alias.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
    """
    return await queries.directory(query.room_alias)


@endpoint("GET", "/_matrix/federation/v1/query/profile", auth=SIGNED_REQUEST)
async def query_profile(query: ProfileQuery, queries: FederationQueries) -> dict[str, Any]:
    """The profile of a user.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
    """
    return await queries.profile(query.user_id, query.field)
