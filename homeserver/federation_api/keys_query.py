"""Querying keys through another server.

Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http import NO_AUTH, endpoint
from homeserver.services.published_keys import PublishedKeys, wanted_keys


class KeyQuery(msgspec.Struct, frozen=True):
    """Until when the keys should be valid, in milliseconds; "if not supplied, the notary server MUST use the current time"."""

    minimum_valid_until_ts: int | None = None


class BulkKeyQuery(msgspec.Struct, frozen=True):
    """Server name to key ID to `{"minimum_valid_until_ts"}`."""

    server_keys: dict[str, dict[str, Any]]


@endpoint("GET", "/_matrix/key/v2/query/{server_name}", auth=NO_AUTH)
async def perspectives_key_query(server_name: str, query: KeyQuery, keys: PublishedKeys) -> dict[str, Any]:
    """The keys of one server, signed by us too.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername
    """
    return {"server_keys": await keys.query({server_name: query.minimum_valid_until_ts})}


@endpoint("POST", "/_matrix/key/v2/query", auth=NO_AUTH)
async def bulk_perspectives_key_query(body: BulkKeyQuery, keys: PublishedKeys) -> dict[str, Any]:
    """The keys of several servers, signed by us too.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
    """
    return {"server_keys": await keys.query(wanted_keys(body.server_keys))}
