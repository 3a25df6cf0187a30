"""What the command line asks of the running server; who holds the server's signing key is its operator."""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import bad_json
from homeserver.federation.operator_requests import OperatorRequests
from homeserver.services.federation_health import FederationHealth

RETRY = "federation retry"


class Operator:
    """Does what is asked."""

    def __init__(self, requests: OperatorRequests, health: FederationHealth) -> None:
        """`requests` says who may ask."""
        self._requests = requests
        self._health = health

    async def retry(self, body: dict[str, Any]) -> None:
        """Have a server that does not answer tried again. body: a signed request with `destination`.

        Raises M_FORBIDDEN, M_BAD_JSON, and what `FederationHealth.retry` does.
        """
        self._requests.check(body, RETRY)
        destination = body.get("destination")
        if not isinstance(destination, str):
            raise bad_json("destination is the name of a server")
        await self._health.retry(destination)
