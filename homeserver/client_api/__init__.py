"""The client-server API: one module per file of the specification, one handler per operation.

Spec: https://spec.matrix.org/v1.19/client-server-api/
"""

from __future__ import annotations

from homeserver.client_api import (
    account_data,
    banning,
    capabilities,
    create_room,
    directory,
    event_context,
    filter,
    inviting,
    joining,
    kicking,
    knocking,
    leaving,
    list_joined_rooms,
    list_public_rooms,
    login,
    logout,
    message_pagination,
    profile,
    pushrules,
    redaction,
    registration,
    room_event_by_timestamp,
    room_send,
    room_state,
    room_summary,
    rooms,
    space_hierarchy,
    support,
    sync,
    tags,
    versions,
    wellknown,
    whoami,
)
from homeserver.http import endpoints_of

# One line a module, in the order of the alphabet.
MODULES = (
    account_data,
    banning,
    capabilities,
    create_room,
    directory,
    event_context,
    filter,
    inviting,
    joining,
    kicking,
    knocking,
    leaving,
    list_joined_rooms,
    list_public_rooms,
    login,
    logout,
    message_pagination,
    profile,
    pushrules,
    redaction,
    registration,
    room_event_by_timestamp,
    room_send,
    room_state,
    room_summary,
    rooms,
    space_hierarchy,
    support,
    sync,
    tags,
    versions,
    wellknown,
    whoami,
)

ENDPOINTS = [endpoint for module in MODULES for endpoint in endpoints_of(module)]
