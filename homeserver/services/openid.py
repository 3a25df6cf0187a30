"""OpenID tokens: users prove to another service who they are.

Spec: https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from __future__ import annotations

import secrets

from homeserver.core.errors import forbidden, unknown_token
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.services.token_hash import token_hash
from homeserver.storage import accounts, expiring_tokens
from homeserver.storage.database import Database, Transaction

LIFETIME_MS = 3600 * 1000


class OpenIdTokens:
    """Gives out tokens, and says whose they are."""

    def __init__(self, database: Database, server_name: str, now_ms: Clock) -> None:
        self._database = database
        self._server_name = server_name
        self._now_ms = now_ms

    async def request(self, requester: Requester, user_id: str) -> tuple[str, str, int]:
        """A token for the requester, the name of the server to ask about it, and how long it is good, in seconds.

        Raises M_FORBIDDEN for another user.
        """
        if requester.user_id != user_id:
            raise forbidden("A token can be requested for yourself only")
        token, now = secrets.token_urlsafe(32), self._now_ms()
        await self._database.write(
            lambda tx: expiring_tokens.add(
                tx, "openid", token_hash(token), user_id, expires_ts=now + LIFETIME_MS, now=now
            )
        )
        return token, self._server_name, LIFETIME_MS // 1000

    async def owner(self, token: str) -> str:
        """The user whose token this is. Raises M_UNKNOWN_TOKEN."""

        async def work(tx: Transaction) -> str | None:
            user_id = await expiring_tokens.owner(tx, "openid", token_hash(token), self._now_ms())
            account = None if user_id is None else await accounts.get(tx, user_id)
            return None if account is None or account.is_locked else user_id

        user_id = await self._database.read(work)
        if user_id is None:
            raise unknown_token("Access token unknown or expired")
        return user_id
