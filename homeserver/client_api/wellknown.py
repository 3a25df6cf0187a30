"""Where clients find this server.

Spec: https://spec.matrix.org/v1.19/client-server-api/#well-known-uris
"""

from __future__ import annotations

from typing import Any

from homeserver.config import ServerSettings
from homeserver.http import NO_AUTH, endpoint


@endpoint("GET", "/.well-known/matrix/client", auth=NO_AUTH)
async def get_wellknown(settings: ServerSettings) -> dict[str, Any]:
    """The base URL of the client API, and what the operator adds to it.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
    """
    return {
        "m.homeserver": {"base_url": settings.public_baseurl},
        **settings.extra_well_known_client_content,
    }
