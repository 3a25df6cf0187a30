"""Retrieving event authorisation information.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorisation-information
"""

from __future__ import annotations

from typing import Any

from homeserver.federation_api.answers import event_id_of, pdus, room_id_of
from homeserver.http import SIGNED_REQUEST, Request, endpoint
from homeserver.services.state_answers import StateAnswers


@endpoint("GET", "/_matrix/federation/v1/event_auth/{room_id}/{event_id}", auth=SIGNED_REQUEST)
async def get_event_auth(
    request: Request, room_id: str, event_id: str, states: StateAnswers
) -> dict[str, Any]:
    """The complete auth chain of an event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
    """
    chain = await states.event_auth(request.origin, room_id_of(room_id), event_id_of(event_id))
    return {"auth_chain": pdus(chain)}
