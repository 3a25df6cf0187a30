"""E-mail addresses and phone numbers of accounts. This server can verify neither, so no account has any.

Spec: https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from homeserver.config import RateLimit
from homeserver.core.errors import MatrixError, invalid_param, limit_exceeded
from homeserver.core.requester import Requester
from homeserver.core.token_bucket import TokenBuckets
from homeserver.services.confirmation import Confirmation

MAX_LENGTH = 255
# "It must be a string consisting of the characters [0-9a-zA-Z.=_-]. Its length must not exceed 255 characters and it must not be
# empty."
_OPAQUE = re.compile(rf"[0-9a-zA-Z.=_-]{{1,{MAX_LENGTH}}}")
_EMAIL = re.compile(r"[^@\s\0]+@[^@\s\0]+")
_COUNTRY = re.compile(r"[A-Z]{2}")
_PHONE = re.compile(r"\+?[0-9 ()./-]{1,40}")


class EmailRequest(Struct):
    """A request to send an e-mail with a token to an address."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None
    id_server: str | None = None


class PhoneRequest(Struct):
    """A request to send a text message with a token to a phone number."""

    client_secret: str
    country: str
    phone_number: str
    send_attempt: int
    next_link: str | None = None
    id_server: str | None = None


MessageRequest = EmailRequest | PhoneRequest


class ThirdPartyIdentifiers:
    """Answers what concerns third-party identifiers, as a server that can send neither e-mails nor text messages."""

    def __init__(
        self,
        confirmation: Confirmation,
        limit: RateLimit,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit`: requests of an address for a message."""
        self._confirmation = confirmation
        self._by_address = TokenBuckets(limit)
        self._monotonic = monotonic

    def request_message(self, request: MessageRequest, *, is_for_password: bool, address: str) -> NoReturn:
        """Refuse to send a message to an identifier. address: of the client. is_for_password: only whoever has the identifier in
        the account could be sent one.

        Raises M_LIMIT_EXCEEDED, M_INVALID_PARAM for what is no request, M_SERVER_NOT_TRUSTED when an identity server is to send
        it, and else M_THREEPID_NOT_FOUND or M_THREEPID_MEDIUM_NOT_SUPPORTED.
        """
        retry_after_ms = self._by_address.take(address, self._monotonic())
        if retry_after_ms:
            raise limit_exceeded("Too many requests to verify an identifier", retry_after_ms)
        _check_opaque("client_secret", request.client_secret)
        is_email = isinstance(request, EmailRequest)
        if isinstance(request, EmailRequest):
            if len(request.email) > MAX_LENGTH or _EMAIL.fullmatch(request.email) is None:
                raise invalid_param("email must be an e-mail address")
        elif _COUNTRY.fullmatch(request.country) is None or _PHONE.fullmatch(request.phone_number) is None:
            raise invalid_param(
                "phone_number must be a phone number, and country the two capital letters of one"
            )
        if request.id_server is not None:
            raise _not_trusted()
        if is_for_password:
            raise MatrixError("M_THREEPID_NOT_FOUND", "No account has this third-party identifier")
        raise MatrixError(
            "M_THREEPID_MEDIUM_NOT_SUPPORTED",
            f"This homeserver can send no {'e-mails' if is_email else 'SMS'}",
        )

    async def add(
        self, requester: Requester, sid: str, client_secret: str, auth: Mapping[str, Any] | None
    ) -> NoReturn:
        """Refuse to add the identifier that was verified in the session `sid`: there is no such session.

        Raises M_INVALID_PARAM, what `Confirmation.confirm` does, and in the end M_THREEPID_AUTH_FAILED.
        """
        _check_opaque("client_secret", client_secret)
        _check_opaque("sid", sid)
        parameters = {"sid": sid, "client_secret": client_secret}
        await self._confirmation.confirm("add3pid", parameters, auth, requester)
        raise MatrixError("M_THREEPID_AUTH_FAILED", "No identifier has been verified in this session", 400)

    def bind(self, sid: str, client_secret: str) -> NoReturn:
        """Refuse to tell an identity server of the user. Raises M_INVALID_PARAM, M_SERVER_NOT_TRUSTED."""
        _check_opaque("client_secret", client_secret)
        _check_opaque("sid", sid)
        raise _not_trusted()


def _check_opaque(name: str, value: str) -> None:
    if _OPAQUE.fullmatch(value) is None:
        raise invalid_param(f"{name} must have 1 to {MAX_LENGTH} of the characters 0-9, a-z, A-Z, . = _ -")


def _not_trusted() -> MatrixError:
    return MatrixError("M_SERVER_NOT_TRUSTED", "This homeserver trusts no identity server", 400)
