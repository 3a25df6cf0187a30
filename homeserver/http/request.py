"""The request as handlers see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import CIMultiDictProxy

from homeserver.core.errors import MatrixError, invalid_param, too_large
from homeserver.core.requester import Requester
from homeserver.http.rate_limits import RateLimiter

MAX_QUERY_FIELDS = 1000


class Request:
    """One request.

    `raw_path` and `raw_query` are as on the wire; `path_parameters` are decoded; `address` is the client's
    address (behind a trusted proxy, the one the proxy saw). `content` is the body where the endpoint takes a
    `body` or the request is signed; elsewhere the body is unread and can be streamed with `chunks`.
    """

    __slots__ = (
        "_limits",
        "_origin",
        "_query",
        "_requester",
        "address",
        "body_timeout",
        "content",
        "id",
        "json",
        "method",
        "path_parameters",
        "raw",
        "raw_path",
        "raw_query",
        "refusal",
        "session_error",
    )

    def __init__(self, raw: web.Request, request_id: str, address: str, body_timeout: float) -> None:
        self.raw = raw
        self.id = request_id
        self.method = raw.method
        self.raw_path, self.raw_query = split_target(raw.raw_path)
        self.address = address
        self.body_timeout = body_timeout
        self.path_parameters: dict[str, str] = {}
        self.content: bytes = b""
        self.json: Any = None  # the decoded content of a signed request
        self.refusal: MatrixError | None = None  # the error that it was answered with
        self.session_error: MatrixError | None = (
            None  # its session has ended meanwhile: what it is answered with
        )
        self._query: dict[str, list[str]] | None = None
        self._requester: Requester | None = None
        self._origin: str | None = None
        self._limits: RateLimiter | None = None

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The request's headers; a name may occur several times."""
        return self.raw.headers

    @property
    def uri(self) -> str:
        """The path and query as on the wire: what a server signs.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
        """
        return f"{self.raw_path}?{self.raw_query}" if self.raw_query else self.raw_path

    @property
    def query(self) -> dict[str, list[str]]:
        """The decoded query parameters. Raises M_INVALID_PARAM when they are not UTF-8 or too many."""
        if self._query is None:
            self._query = _parse_query(self.raw_query)
        return self._query

    @property
    def requester(self) -> Requester:
        """Who the access token belongs to. Only on endpoints that demand one."""
        if self._requester is None:
            raise RuntimeError("this request carries no access token: use requester_or_none")
        return self._requester

    @property
    def requester_or_none(self) -> Requester | None:
        """Who the access token belongs to, where one is optional and none was given None."""
        return self._requester

    @property
    def origin(self) -> str:
        """The server that signed the request. Only on SIGNED_REQUEST endpoints."""
        if self._origin is None:
            raise RuntimeError("this request is not signed by a server")
        return self._origin

    @property
    def origin_or_none(self) -> str | None:
        """The server that signed the request, if one did."""
        return self._origin

    def authenticated_as(self, requester: Requester) -> None:
        """Note who sends the request."""
        self._requester = requester

    def signed_by(self, origin: str) -> None:
        """Note which server has signed the request."""
        self._origin = origin

    def limited_by(self, limits: RateLimiter | None) -> None:
        """Note what `count` counts against; None: nothing is limited."""
        self._limits = limits

    def count(self, limit: str) -> None:
        """Count the request against a named rate limit. Raises M_LIMIT_EXCEEDED.

        An endpoint whose limit depends on what is asked calls this itself; the others name theirs.
        """
        if self._limits is not None:
            self._limits.check(limit, self._requester.user_id if self._requester else self.address)

    def has_limit(self, limit: str) -> bool:
        """Whether there is a rate limit of that name: some there are only where they are set."""
        return self._limits is not None and limit in self._limits

    @property
    def sender(self) -> str:
        """Who to name in the access log."""
        if self._requester is not None:
            return self._requester.user_id
        return self._origin or "-"

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body piece by piece, at most `limit` bytes and `body_timeout` seconds of it.

        Raises 413 M_TOO_LARGE, or 408 when the client is too slow.
        """
        announced = self.raw.content_length
        if announced is not None and announced > limit:
            raise too_large(f"The body has {announced} bytes; at most {limit} are accepted here")
        received = 0
        deadline = asyncio.get_running_loop().time() + self.body_timeout
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await self.raw.content.readany()
            except TimeoutError as error:
                raise MatrixError(
                    "M_UNKNOWN", f"The body did not arrive within {self.body_timeout:g} seconds", 408
                ) from error
            if not chunk:
                return
            received += len(chunk)
            if received > limit:
                raise too_large(f"The body is too large; at most {limit} bytes are accepted here")
            yield chunk

    async def read(self, limit: int) -> bytes:
        """The whole body, with the limits of `chunks`."""
        return b"".join([chunk async for chunk in self.chunks(limit)])


def split_target(target: str) -> tuple[str, str]:
    """The raw path and query of a request target, which may be in absolute form (`GET http://host/path`)."""
    if not target.startswith("/") and "://" in target:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    return path, query


def _parse_query(raw_query: str) -> dict[str, list[str]]:
    query: dict[str, list[str]] = {}
    if not raw_query:
        return query
    try:
        pairs = parse_qsl(raw_query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except UnicodeDecodeError as error:
        raise invalid_param("The query holds bytes that are not UTF-8") from error
    except ValueError as error:
        raise invalid_param(f"The query has more than {MAX_QUERY_FIELDS} fields") from error
    for name, value in pairs:
        if "\0" in value:
            raise invalid_param(f"The query parameter {name[:100]} holds a NUL character")
        query.setdefault(name, []).append(value)
    return query
