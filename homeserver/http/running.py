"""Requests that wait for news, and how they end when their session does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from homeserver.core.errors import MatrixError, unknown
from homeserver.http.request import Request

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
"""Authenticates a request again; raises MatrixError."""


class RunningRequests:
    """The requests that may run for long, by whose they are. One object for all listeners."""

    def __init__(self) -> None:
        self._by_user: dict[str, dict[Request, tuple[asyncio.Task[object], Check]]] = {}
        self._checks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    @contextmanager
    def running(self, request: Request, check: Check) -> Iterator[None]:
        """What the current task does within this ends with the error that `check` raises, if it does so after `changed`."""
        task, requester = asyncio.current_task(), request.requester_or_none
        if task is None or requester is None:
            yield
            return
        of_user = self._by_user.setdefault(requester.user_id, {})
        of_user[request] = (task, check)
        try:
            yield
        except asyncio.CancelledError:
            # Unless the client has gone away at the same time, or the server stops.
            if request.session_error is not None and task.uncancel() == 0:
                raise request.session_error from None
            raise
        finally:
            del of_user[request]
            if not of_user:
                del self._by_user[requester.user_id]

    def changed(self, user_id: str) -> None:
        """Look again at the user's requests: a session of the user's may have ended."""
        for request, (task, check) in self._by_user.get(user_id, {}).items():
            looking = asyncio.create_task(self._look(request, task, check))
            self._checks.add(looking)
            looking.add_done_callback(self._checks.discard)

    async def _look(self, request: Request, task: asyncio.Task[object], check: Check) -> None:
        try:
            await check()
        except MatrixError as error:
            self._end(request, task, error)
        except Exception:
            # The client asks again, and is checked then.
            log.exception("%s: whether its session has ended could not be seen, so it ends", request.id)
            self._end(request, task, unknown(f"Internal server error (request {request.id})"))

    def _end(self, request: Request, task: asyncio.Task[object], error: MatrixError) -> None:
        of_user = self._by_user.get(request.requester.user_id, {})
        if request.session_error is None and request in of_user:
            request.session_error = error
            task.cancel()
