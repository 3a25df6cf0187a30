"""Publishing keys.

Spec: https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
"""

from __future__ import annotations

from typing import Any

from homeserver.http import NO_AUTH, endpoint
from homeserver.services.published_keys import PublishedKeys


@endpoint("GET", "/_matrix/key/v2/server", auth=NO_AUTH)
async def get_server_key(keys: PublishedKeys) -> dict[str, Any]:
    """This server's keys.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    return keys.own()
