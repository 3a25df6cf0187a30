"""Voice over IP.

Spec: https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.turn_server import TurnServer


@endpoint(
    "GET",
    "/_matrix/client/v3/voip/turnServer",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/voip/turnServer",),
)
async def get_turn_server(request: Request, turn_server: TurnServer) -> dict[str, Any]:
    """Credentials for the TURN server.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
    """
    return turn_server.credentials(request.requester)
