"""The server-server API: one module per file of the specification, one handler per operation.

Spec: https://spec.matrix.org/v1.19/server-server-api/
"""

from __future__ import annotations

from homeserver.federation_api import (
    backfill,
    event_auth,
    events,
    invites_v1,
    invites_v2,
    joins_v1,
    joins_v2,
    keys_query,
    keys_server,
    knocks,
    leaving_v1,
    leaving_v2,
    public_rooms,
    query,
    space_hierarchy,
    third_party_invite,
    transactions,
    version,
    wellknown,
)
from homeserver.http import endpoints_of

# One line a module, in the order of the alphabet.
MODULES = (
    backfill,
    event_auth,
    events,
    invites_v1,
    invites_v2,
    joins_v1,
    joins_v2,
    keys_query,
    keys_server,
    knocks,
    leaving_v1,
    leaving_v2,
    public_rooms,
    query,
    space_hierarchy,
    third_party_invite,
    transactions,
    version,
    wellknown,
)

ENDPOINTS = [endpoint for module in MODULES for endpoint in endpoints_of(module)]
