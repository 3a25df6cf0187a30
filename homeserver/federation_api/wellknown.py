"""Where other servers find this one.

Spec: https://spec.matrix.org/v1.19/server-server-api/#server-discovery
"""

from __future__ import annotations

from typing import Any

from homeserver.config import ServerSettings
from homeserver.core.errors import not_found
from homeserver.core.identifiers import parse_server_name
from homeserver.http import NO_AUTH, endpoint


@endpoint("GET", "/.well-known/matrix/server", auth=NO_AUTH)
async def get_well_known(settings: ServerSettings) -> dict[str, Any]:
    """Delegation to port 443, for a reverse proxy that passes everything on: only with
    `serve_server_wellknown`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
    """
    if not settings.serve_server_wellknown:
        raise not_found("serve_server_wellknown is off, so there is no delegation here")
    host = parse_server_name(settings.server_name).host
    return {"m.server": f"[{host}]:443" if ":" in host else f"{host}:443"}
