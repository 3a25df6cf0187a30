"""The web application: route, authenticate, limit, decode, call the handler, render what it returns or
raises.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException
from prometheus_client import Counter

from homeserver.core.errors import MatrixError, unknown
from homeserver.http.authentication import Authenticators, authenticate, explain_lost
from homeserver.http.binding import BindingError, BoundEndpoint, Services
from homeserver.http.endpoint import NO_AUTH, Endpoint, endpoint, resource_of
from homeserver.http.forwarded import TrustedProxies
from homeserver.http.rate_limits import RateLimiter
from homeserver.http.request import Request
from homeserver.http.responses import Response, to_error_response, to_web_response
from homeserver.http.router import MethodNotAllowed, Router

log = logging.getLogger(__name__)
access_log = logging.getLogger("homeserver.access")

refusals = Counter(
    "homeserver_http_refusals_total",
    "Requests that were answered with an error, by the kind of API and the errcode.",
    ["resource", "errcode"],
)

# Spec: https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
    "Access-Control-Expose-Headers": "Retry-After, ETag, Server",
    "Access-Control-Max-Age": "86400",
}

# Seconds. A body that is slower than this only holds a connection.
BODY_TIMEOUT = 60.0
# Seconds that running requests have to end when the server stops.
SHUTDOWN_TIMEOUT = 0.5
# Bytes of a request line and of a header: a filter given inline in a query can be long.
MAX_LINE = 32 * 1024

LONGEST_LOGGED_URI = 300  # characters

_ACCESS_TOKEN = re.compile(r"((?:^|[?&])access_token=)[^&]*")
_request_numbers = itertools.count(1)


def build_application(
    endpoints: Iterable[Endpoint],
    services: Iterable[object],
    authenticators: Authenticators,
    limits: RateLimiter | None = None,
    *,
    resources: Collection[str] = ("client", "federation"),
    proxies: TrustedProxies | None = None,
    on_refusal: Callable[[Request], None] = lambda _: None,
    body_timeout: float = BODY_TIMEOUT,
) -> web.Application:
    """The application of one listener.

    `services`: the objects that handlers ask for by class. `limits`: without them nothing is limited; with
    them every `limit` that an endpoint names must be there. `resources`: what the listener serves;
    `federation` includes `keys` and `openid`, and `GET /health` is there always. `proxies`: those whose
    `X-Forwarded-For` says who the client is. `on_refusal` is told of each request that is answered with an error.
    Raises BindingError for a handler that asks for something that is not there; it names all of them.
    """
    application = web.Application()
    dispatcher = _Dispatcher(
        authenticators,
        limits,
        proxies=proxies or TrustedProxies(),
        on_refusal=on_refusal,
        body_timeout=body_timeout,
    )
    served = {*resources, "health"}
    if "federation" in served:
        served |= {"keys", "openid"}
    dispatcher.cors = "client" in served
    bound_services = Services(services)
    mistakes: list[str] = []
    for declared in (*endpoints, _HEALTH):
        if declared.resource in served or declared.path.startswith("/.well-known/matrix/"):
            try:
                dispatcher.add(BoundEndpoint(declared, bound_services))
            except BindingError as error:
                mistakes.append(str(error))
    if mistakes:
        raise BindingError("\n".join(mistakes))
    application.router.add_route("*", r"/{path:[\s\S]*}", dispatcher.dispatch)
    application.on_shutdown.append(dispatcher.stop_reading)
    application.on_cleanup.append(dispatcher.finish)
    return application


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp's log tells of a fault of ours, not of bytes that are not HTTP, or not encoded as they say."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_protocol_log = logging.getLogger("homeserver.http.protocol")
_protocol_log.addFilter(_is_ours)


def make_runner(application: web.Application) -> web.AppRunner:
    """The runner for a listener: handlers hear of it when their client goes away."""
    return web.AppRunner(
        application,
        access_log=None,
        logger=_protocol_log,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
    )


@endpoint("GET", "/health", auth=NO_AUTH)
async def health() -> Response:
    """For load balancers and supervisors."""
    return Response(200, b"OK", {"Content-Type": "text/plain; charset=utf-8"})


(_HEALTH,) = health.endpoints  # type: ignore[attr-defined]


class _Dispatcher:
    def __init__(
        self,
        authenticators: Authenticators,
        limits: RateLimiter | None,
        *,
        proxies: TrustedProxies,
        on_refusal: Callable[[Request], None],
        body_timeout: float,
    ) -> None:
        self.cors = True
        self._router: Router[BoundEndpoint] = Router()
        self._authenticators = authenticators
        self._limits = limits
        self._proxies = proxies
        self._on_refusal = on_refusal
        self._body_timeout = body_timeout
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._reading: set[asyncio.Task[Any]] = set()

    def add(self, bound: BoundEndpoint) -> None:
        limit = bound.endpoint.limit
        if limit is not None and self._limits is not None and limit not in self._limits:
            raise BindingError(f"{bound.endpoint.operation}: there is no rate limit named {limit}")
        for path in bound.endpoint.paths:
            self._router.add(bound.endpoint.method, path, bound)

    async def dispatch(self, raw: web.Request) -> web.StreamResponse:
        started = time.monotonic()
        request_id = f"{raw.method[:16]}-{next(_request_numbers)}"
        address = self._proxies.client(raw.remote or "-", raw.headers.getall("X-Forwarded-For", ()))
        request = Request(raw, request_id, address, self._body_timeout)
        request.limited_by(self._limits)
        try:
            response = await self._answer_or_error(request)
        except asyncio.CancelledError:
            _log_access(request, None, started)
            raise
        if request.refusal is not None:
            self._on_refusal(request)
        if self.cors and resource_of(request.raw_path) == "client":
            response.headers.update(CORS_HEADERS)
        _log_access(request, response, started)
        return response

    async def _answer_or_error(self, request: Request) -> web.Response:
        try:
            return await self._answer(request)
        except MatrixError as error:
            request.refusal = error
        except (web.RequestPayloadError, ConnectionError, HTTPException) as error:
            request.refusal = unknown(f"The request broke off: {error}", 400)
        except Exception:
            # Whatever goes wrong in one request, the server goes on; the log has the rest under the same ID.
            log.exception("%s: %s %s failed", request.id, request.method, request.raw_path)
            request.refusal = unknown(f"Internal server error (request {request.id})")
        refusals.labels(resource_of(request.raw_path), request.refusal.errcode).inc()
        response = to_error_response(request.refusal)
        if isinstance(request.refusal, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(request.refusal.allowed)
        return response

    async def _answer(self, request: Request) -> web.Response:
        if request.method == "OPTIONS" and self.cors and resource_of(request.raw_path) == "client":
            return web.Response(status=204)
        try:
            match = self._router.match(request.method, request.raw_path)
        except MatrixError as refusal:
            await explain_lost(request, refusal, self._authenticators)
            raise
        request.path_parameters = match.parameters
        endpoint = match.target.endpoint
        await authenticate(request, endpoint, self._authenticators)
        if endpoint.limit is not None:
            request.count(endpoint.limit)
        arguments = await match.target.arguments(request)
        work = self._in_turn(request, endpoint, arguments)
        if endpoint.cancellable:
            check = partial(authenticate, request, endpoint, self._authenticators)
            with self._authenticators.running.running(request, check):
                return to_web_response(await self._until_cancelled(work))
        return to_web_response(await self._to_the_end(work))

    async def _in_turn(self, request: Request, endpoint: Endpoint, arguments: dict[str, Any]) -> Any:
        """Run a handler, when it is the turn of the server that asks."""
        peers = self._limits.peers if self._limits is not None and endpoint.in_turn else None
        async with peers.turn(request.origin) if peers is not None else nullcontext():
            return await endpoint.handler(**arguments)

    async def _until_cancelled(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a handler that only reads: it ends with its client, or with the server."""
        task = asyncio.current_task()
        assert task is not None
        self._reading.add(task)
        try:
            return await work
        finally:
            self._reading.discard(task)

    async def _to_the_end(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a handler that changes something: it is not stopped halfway when the client goes away."""
        task = asyncio.ensure_future(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def stop_reading(self, _application: web.Application) -> None:
        """The server stops: those who wait for news need not wait on."""
        for task in self._reading:
            task.cancel()

    async def finish(self, _application: web.Application) -> None:
        """Give what is still running a moment, then stop it."""
        if self._unfinished:
            _, late = await asyncio.wait(self._unfinished, timeout=SHUTDOWN_TIMEOUT)
            for task in late:
                task.cancel()


def _log_failure(task: asyncio.Task[Any]) -> None:
    """What a handler raised after its client had gone: an answer to nobody, or a fault that must be seen."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, MatrixError):
        log.error("a request whose client had gone failed", exc_info=error)


def _log_access(request: Request, response: web.Response | None, started: float) -> None:
    if not access_log.isEnabledFor(logging.INFO):
        return
    access_log.info(
        "%s %s %s %s %s -> %s in %.0f ms%s",
        request.id,
        request.address,
        request.sender,
        request.method,
        _shortened(_ACCESS_TOKEN.sub(r"\1<redacted>", request.uri)),
        "client went away" if response is None else response.status,
        (time.monotonic() - started) * 1000,
        "" if request.refusal is None else f": {request.refusal.errcode} {request.refusal.message!r:.300}",
    )


def _shortened(uri: str) -> str:
    """Clients send whole filters in the query of every /sync."""
    return uri if len(uri) <= LONGEST_LOGGED_URI else f"{uri[:LONGEST_LOGGED_URI]}..."
