"""Who sent this request: the `X-Matrix` header against the sender's keys.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.signing import VerifyKey

from homeserver.core.errors import MatrixError, forbidden, unauthorized
from homeserver.core.token_bucket import TokenBuckets
from homeserver.federation.authentication import (
    AuthenticationError,
    SignatureMismatch,
    XMatrix,
    check_destination,
    parse_authorization,
    verify_request,
)
from homeserver.federation.culprits import culprit
from homeserver.federation.key_ring import KeyRing, KeyUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Explanations:
    """How many mismatches of a server are looked into."""

    per_second: float = 0.2
    burst_count: int = 5


class RequestAuthenticator:
    """Authenticates requests of other servers to `server_name`. `clock` gives milliseconds since the epoch."""

    def __init__(
        self,
        server_name: str,
        key_ring: KeyRing,
        domain_whitelist: frozenset[str] | None = None,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._server_name = server_name
        self._key_ring = key_ring
        self._domain_whitelist = domain_whitelist
        self._clock = clock
        self._explanations = TokenBuckets(_Explanations())

    async def authenticate(
        self, method: str, uri: str, authorization: Sequence[str], content: Any = None
    ) -> str:
        """The name of the server that sent the request.

        `uri` is path and query exactly as received, `authorization` all Authorization headers (a server may
        sign with several keys; one good signature is enough), `content` the decoded body or None.

        Raises MatrixError: 401 M_UNAUTHORIZED with the reason, 403 for a server outside of the whitelist.
        """
        if not authorization:
            raise unauthorized("the request has no Authorization header: a proxy may have removed it")
        problems: list[str] = []
        for header in authorization[:5]:
            try:
                return await self._check(method, uri, header, content)
            except AuthenticationError as error:
                problems.append(error.reason)
            except KeyUnavailable as error:
                problems.append(str(error))
        raise unauthorized("; ".join(problems))

    async def _check(self, method: str, uri: str, header: str, content: Any) -> str:
        parsed = parse_authorization(header)
        # Before any key is fetched: neither a stranger nor a misdirected request should cause traffic.
        if self._domain_whitelist is not None and parsed.origin not in self._domain_whitelist:
            raise _not_whitelisted(parsed.origin)
        check_destination(parsed, self._server_name)
        key = await self._key_ring.key(parsed.origin, parsed.key_id, self._clock(), current=True)
        arguments = (parsed, method, uri, self._server_name, content, {parsed.key_id: key})
        try:
            if content is None:
                verify_request(*arguments)
            else:
                # A transaction may have megabytes, which must be encoded again to check the signature.
                await asyncio.to_thread(verify_request, *arguments)
        except SignatureMismatch as mismatch:
            raise await self._explained(mismatch, parsed, method, uri, content, key) from mismatch
        return parsed.origin

    async def _explained(
        self,
        mismatch: SignatureMismatch,
        header: XMatrix,
        method: str,
        uri: str,
        content: Any,
        key: VerifyKey,
    ) -> AuthenticationError:
        """The mismatch, with what a proxy has done if that can be told. Not for each of very many: it takes some tries."""
        if self._explanations.take(header.origin, time.monotonic()):
            return mismatch
        found = await asyncio.to_thread(culprit, header, method, uri, content, key)
        if found is None:
            return mismatch
        rewrite, sent = found
        log.warning("%s sent %s %s: %s. %s", header.origin, method, sent, rewrite.found, rewrite.remedy)
        reason = (
            f"the signature with {header.key_id} of {header.origin} fits {method} {sent:.300}, which did not arrive so: "
            f"{rewrite.found}. A proxy, mostly the one in front of this server: {rewrite.remedy}"
        )
        return AuthenticationError(reason)


def _not_whitelisted(origin: str) -> MatrixError:
    return forbidden(f"this server does not federate with {origin}")
