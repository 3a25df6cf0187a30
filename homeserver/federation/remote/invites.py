"""Inviting users of other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.events import Event
from homeserver.core.room_versions import EventIDFormat
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.answers import as_object, as_pair, field, one_pdu
from homeserver.federation.transport import FederationClient, matrix_path


async def invite(
    client: FederationClient, destination: str, event: Event, invite_room_state: Sequence[Mapping[str, Any]]
) -> Event:
    """Have an invite signed by the invited user's server; returns the event with its signature added
    (unverified).

    `invite_room_state` are the events that describe the room. Servers that only know the first version are
    asked with that, for room versions 1 and 2: it cannot say which version the room has.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    # Canonical JSON: the event's bytes are spliced in, the keys are sorted.
    body = b'{"event":%b,"invite_room_state":%b,"room_version":%b}' % (
        event.canonical,
        encode_canonical(list(invite_room_state)),
        encode_canonical(event.rules.version),
    )
    path = matrix_path("_matrix", "federation", "v2", "invite", event.room_id, event.event_id)
    try:
        answer = as_object(destination, await client.request(destination, "PUT", path, body=body))
    except FederationError as error:
        if not error.unrecognised or event.rules.event_id_format is not EventIDFormat.SERVER_CHOSEN:
            raise
        answer = await _invite_v1(client, destination, event, invite_room_state)
    signed = field(destination, answer, "event", dict)
    return one_pdu(destination, signed, event.rules, event.room_id, event.event_id)


async def _invite_v1(
    client: FederationClient, destination: str, event: Event, invite_room_state: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid"""
    path = matrix_path("_matrix", "federation", "v1", "invite", event.room_id, event.event_id)
    body = {**event.pdu, "unsigned": {"invite_room_state": list(invite_room_state)}}
    return as_pair(destination, await client.request(destination, "PUT", path, body=body))


async def exchange_third_party_invite(
    client: FederationClient, destination: str, room_id: str, event: Mapping[str, Any]
) -> None:
    """Ask a server in the room to make an invite of a third-party invite. `event` is the partial
    m.room.member event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
    """
    path = matrix_path("_matrix", "federation", "v1", "exchange_third_party_invite", room_id)
    as_object(destination, await client.request(destination, "PUT", path, body=event))
