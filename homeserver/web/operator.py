"""What the command line asks of the running server. Only who holds the signing key is answered."""

from __future__ import annotations

from typing import Any

from homeserver.http import NO_AUTH, endpoint
from homeserver.services.operator import Operator


@endpoint("POST", "/_homeserver/v1/federation/retry", auth=NO_AUTH)
async def retry(body: dict[str, Any], operator: Operator) -> dict[str, Any]:
    """Try a server that does not answer again, at once."""
    await operator.retry(body)
    return {}
