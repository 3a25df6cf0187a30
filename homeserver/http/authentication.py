"""Who sends a request: access tokens of clients, signatures of servers. What they mean is decided elsewhere
and injected.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol

from multidict import CIMultiDictProxy

from homeserver.core.account_limits import GUESTS_MAY, LOCKED_MAY, SUSPENDED_MAY_NOT
from homeserver.core.errors import (
    MatrixError,
    guest_access_forbidden,
    missing_token,
    unauthorized,
    unknown_token,
    user_locked,
    user_suspended,
)
from homeserver.core.requester import Requester
from homeserver.http.decoding import decode_content
from homeserver.http.endpoint import Auth, Endpoint
from homeserver.http.request import Request
from homeserver.http.running import RunningRequests

MAX_LOST_BODY = 256 * 1024


class AccessTokenAuthenticator(Protocol):
    """Finds who an access token belongs to; raises M_UNKNOWN_TOKEN."""

    def __call__(self, token: str, request: Request, /) -> Awaitable[Requester]: ...


class SignedRequestAuthenticator(Protocol):
    """Checks the X-Matrix signatures of a federation request; returns the name of the server that signed it.

    `uri` is the raw path and query. `headers` may hold several Authorization headers (`getall`). `content` is
    the request's JSON body, decoded, or None when it has none. Raises M_UNAUTHORIZED or M_FORBIDDEN.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
    """

    def __call__(
        self, method: str, uri: str, headers: CIMultiDictProxy[str], content: Any, /
    ) -> Awaitable[str]: ...


@dataclass(frozen=True, slots=True)
class Authenticators:
    """The two ways to prove who sends a request. One that is None refuses all that needs it.

    running: what is told when sessions end, so that the requests of these do not wait on.
    lost_request: asked of a signed request that leads to no endpoint, with the same arguments; says what a proxy has done to it,
    or nothing. Never raises.
    """

    access_token: AccessTokenAuthenticator | None = None
    signed_request: SignedRequestAuthenticator | None = None
    running: RunningRequests = field(default_factory=RunningRequests)
    lost_request: SignedRequestAuthenticator | None = None


def access_token_of(request: Request) -> str | None:
    """The access token of a request: from the Authorization header, or the deprecated query parameter.

    Raises M_UNKNOWN_TOKEN for what cannot be one.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
    """
    for header in request.headers.getall("Authorization", ()):
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            if not token.isascii():  # aiohttp hands such bytes of a header through as lone surrogates
                raise unknown_token("Unrecognised access token")
            return token.strip()
    for token in request.query.get("access_token", ()):
        if token:
            return token
    return None


async def authenticate(request: Request, endpoint: Endpoint, authenticators: Authenticators) -> None:
    """Put the requester or the origin on the request, as the endpoint demands.

    A signed request's body is read and decoded here, because the signature covers it. Raises M_MISSING_TOKEN,
    M_UNKNOWN_TOKEN, M_UNAUTHORIZED, M_NOT_JSON, M_TOO_LARGE; M_USER_LOCKED, M_GUEST_ACCESS_FORBIDDEN and M_USER_SUSPENDED
    where such users may not use the endpoint.
    """
    if endpoint.auth is Auth.NO_AUTH:
        return
    if endpoint.auth is Auth.SIGNED_REQUEST:
        if authenticators.signed_request is None:
            raise unauthorized("Federation is not served here")
        request.content = await request.read(endpoint.max_body)
        request.json = await decode_content(request.content) if request.content else None
        request.signed_by(
            await authenticators.signed_request(request.method, request.uri, request.headers, request.json)
        )
        return
    token = access_token_of(request)
    if token is None:
        if endpoint.auth is Auth.ACCESS_TOKEN:
            raise missing_token()
        return
    if authenticators.access_token is None:
        raise unknown_token("Access tokens are not accepted here")
    requester = await authenticators.access_token(token, request)
    request.authenticated_as(requester)
    operation = endpoint.operation
    if requester.is_locked and operation not in LOCKED_MAY:
        raise user_locked()
    if requester.is_guest and endpoint.auth is Auth.ACCESS_TOKEN and operation not in GUESTS_MAY:
        raise guest_access_forbidden("Guests cannot do this")
    if requester.is_suspended and operation in SUSPENDED_MAY_NOT:
        raise user_suspended()


async def explain_lost(request: Request, refusal: MatrixError, authenticators: Authenticators) -> None:
    """Add to a refusal why a request of another server leads nowhere: mostly a proxy has decoded a slash in its path."""
    signed = any(each.lower().startswith("x-matrix") for each in request.headers.getall("Authorization", ()))
    if authenticators.lost_request is None or not signed:
        return
    try:
        content = await request.read(MAX_LOST_BODY)
        decoded = await decode_content(content) if content else None
    except MatrixError:
        return  # it cannot be checked; the refusal stands as it is
    why = await authenticators.lost_request(request.method, request.uri, request.headers, decoded)
    if why:
        refusal.message = f"{refusal.message}. {why}"
