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
from homeserver.federation.culprits import culprit, fits, misdirection
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
        self, method: str, uri: str, authorization: Sequence[str], content: Any = None, host: str = ""
    ) -> str:
        """The name of the server that sent the request.

        `uri` is path and query exactly as received, `authorization` all Authorization headers (a server may
        sign with several keys; one good signature is enough), `content` the decoded body or None. `host` is the Host
        header, for explanations.

        Raises MatrixError: 401 M_UNAUTHORIZED with the reason, 403 for a server outside of the whitelist.
        """
        if not authorization:
            raise unauthorized("the request has no Authorization header: a proxy may have removed it")
        problems: list[str] = []
        for header in authorization[:5]:
            try:
                return await self._check(method, uri, header, content, host)
            except AuthenticationError as error:
                problems.append(error.reason)
            except KeyUnavailable as error:
                problems.append(str(error))
        raise unauthorized("; ".join(problems))

    async def _check(self, method: str, uri: str, header: str, content: Any, host: str) -> str:
        parsed = parse_authorization(header)
        # Before any key is fetched: neither a stranger nor a misdirected request should cause traffic.
        if self._domain_whitelist is not None and parsed.origin not in self._domain_whitelist:
            raise _not_whitelisted(parsed.origin)
        try:
            check_destination(parsed, self._server_name)
        except AuthenticationError as wrong:
            raise await self._misdirected(wrong, parsed, method, uri, content, host) from wrong
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

    async def _misdirected(
        self, wrong: AuthenticationError, header: XMatrix, method: str, uri: str, content: Any, host: str
    ) -> AuthenticationError:
        """What leads a request for another server here. Logged when it is certain who sent it."""
        reason = f"{wrong.reason}. {misdirection(header.destination or '', self._server_name, host)}"
        key = self._key_ring.at_hand(header.origin, header.key_id)
        if (
            key is not None
            and not self._explanations.take(header.origin, time.monotonic())
            and await asyncio.to_thread(fits, header, method, uri, content, key)
        ):
            log.warning("%s sent %s %.300s: %s", header.origin, method, uri, reason)
        return AuthenticationError(reason)

    async def explain_lost(self, method: str, uri: str, authorization: Sequence[str], content: Any) -> str:
        """What was done to a request that leads to no endpoint, if its signature tells; empty when it does not."""
        for header in authorization[:1]:
            try:
                parsed = parse_authorization(header)
                if self._domain_whitelist is not None and parsed.origin not in self._domain_whitelist:
                    return ""
                check_destination(parsed, self._server_name)
                key = await self._key_ring.key(parsed.origin, parsed.key_id, self._clock(), current=True)
            except (AuthenticationError, KeyUnavailable):
                return ""
            return await self._what_was_done(parsed, method, uri, content, key) or ""
        return ""

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
        reason = await self._what_was_done(header, method, uri, content, key)
        return AuthenticationError(reason) if reason else mismatch

    async def _what_was_done(
        self, header: XMatrix, method: str, uri: str, content: Any, key: VerifyKey
    ) -> str | None:
        if self._explanations.take(header.origin, time.monotonic()):
            return None
        found = await asyncio.to_thread(culprit, header, method, uri, content, key)
        if found is None:
            return None
        rewrite, sent = found
        log.warning("%s sent %s %s: %s. %s", header.origin, method, sent, rewrite.found, rewrite.remedy)
        return (
            f"the signature with {header.key_id} of {header.origin} fits {method} {sent:.300}, which did not arrive so: "
            f"{rewrite.found}. A proxy, mostly the one in front of this server: {rewrite.remedy}"
        )


def _not_whitelisted(origin: str) -> MatrixError:
    return forbidden(f"this server does not federate with {origin}")
