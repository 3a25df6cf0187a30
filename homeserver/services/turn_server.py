"""The TURN server that our users' clients may use for calls.

Spec: https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
"""

from __future__ import annotations

from typing import Any

from homeserver.config import VoIPSettings
from homeserver.core.requester import Requester
from homeserver.core.turn_credentials import temporary_credentials
from homeserver.services.clock import Clock


class TurnServer:
    """Gives clients the TURN server's addresses, and something to log in there with."""

    def __init__(self, settings: VoIPSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def credentials(self, requester: Requester) -> dict[str, Any]:
        """The body of the answer: `username`, `password`, `uris` and `ttl` in seconds.

        It is empty where there is no TURN server for the requester: clients take that for "none", and an empty list of addresses,
        which the specification would have here, for a server that cannot be used, so that their calls fail.
        """
        settings = self._settings
        if not settings.turn_uris or (requester.is_guest and not settings.turn_allow_guests):
            return {}
        lifetime = int(settings.turn_user_lifetime) // 1000
        if settings.turn_shared_secret is not None:
            expires = self._clock() // 1000 + lifetime
            username, password = temporary_credentials(
                requester.user_id, settings.turn_shared_secret, expires
            )
        elif settings.turn_username is not None and settings.turn_password is not None:
            username, password = settings.turn_username, str(settings.turn_password)
        else:
            return {}
        return {
            "username": username,
            "password": password,
            "ttl": lifetime,
            "uris": list(settings.turn_uris),
        }
