"""Registration by those who know `registration_shared_secret`: the administrator's tools.

The protocol is Synapse's: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from homeserver.config import RegistrationSettings
from homeserver.core.errors import forbidden, invalid_param, unknown, unrecognized
from homeserver.services.accounts import Accounts
from homeserver.services.clock import Clock
from homeserver.services.sessions import Session, Sessions

# A nonce is good for one registration within this time (ms).
NONCE_MS = 60_000
MAX_NONCES = 1_000
USER_TYPES = (None, "bot", "support")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRegistration:
    """A registration and the HMAC that shows that the sender knows the secret.

    display_name: the username when it is None; no name at all when it is empty. The HMAC does not cover it.
    """

    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    display_name: str | None = None


class SharedSecretRegistration:
    """Makes accounts, administrators too, for whoever knows the secret."""

    def __init__(
        self, accounts: Accounts, sessions: Sessions, settings: RegistrationSettings, now_ms: Clock
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._secret = settings.registration_shared_secret
        self._now_ms = now_ms
        self._nonces: OrderedDict[str, int] = OrderedDict()  # nonce -> until

    def new_nonce(self) -> str:
        """A nonce for one registration. Raises M_UNRECOGNIZED when no secret is configured."""
        self._shared_secret()
        self._expire_nonces()
        nonce = secrets.token_hex(32)
        self._nonces[nonce] = self._now_ms() + NONCE_MS
        return nonce

    async def register(self, request: SignedRegistration) -> Session:
        """Make the account and log it in.

        Raises M_UNRECOGNIZED when no secret is configured, M_UNKNOWN for an unknown nonce, M_FORBIDDEN for a
        wrong HMAC, M_INVALID_PARAM, M_INVALID_USERNAME, M_USER_IN_USE.
        """
        secret = self._shared_secret()
        self._expire_nonces()
        if self._nonces.pop(request.nonce, None) is None:
            raise unknown("Unrecognised nonce: ask for a new one; it is good for one minute and one use", 400)
        if any("\0" in text for text in (request.username, request.password, request.display_name or "")):
            raise invalid_param("The username, the password and the display name must not contain NUL")
        if request.user_type not in USER_TYPES:
            raise invalid_param("user_type must be bot or support")
        # Compared as bytes: compare_digest refuses texts beyond ASCII.
        if not hmac.compare_digest(_mac(secret, request).encode(), request.mac.encode()):
            raise forbidden("HMAC incorrect: it was made with another shared secret")
        user_id = await self._accounts.create(
            request.username,
            request.password,
            is_admin=request.admin,
            user_type=request.user_type,
            display_name=request.display_name,
        )
        return await self._sessions.start(user_id)

    def _shared_secret(self) -> str:
        if self._secret is None:
            raise unrecognized("Shared-secret registration is not enabled: set registration_shared_secret")
        return self._secret

    def _expire_nonces(self) -> None:
        while self._nonces:
            nonce, until = next(iter(self._nonces.items()))
            if until > self._now_ms() and len(self._nonces) < MAX_NONCES:
                return
            del self._nonces[nonce]


def _mac(secret: str, request: SignedRegistration) -> str:
    """HMAC-SHA1 of nonce, user, password, admin or notadmin, and the user type if there is one, between NULs."""
    parts = [request.nonce, request.username, request.password, "admin" if request.admin else "notadmin"]
    if request.user_type is not None:
        parts.append(request.user_type)
    return hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
