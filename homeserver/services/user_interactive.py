"""User-interactive authentication: an operation is repeated with one proof after another until a flow is
complete.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.services.clock import Clock

DUMMY = "m.login.dummy"

# Sessions live in memory: a restart ends them, and the client is answered with a new one. Unused for this
# long (ms), they end; beyond the number the one unused for longest goes first.
SESSION_MS = 15 * 60 * 1000
MAX_SESSIONS = 10_000

Stage = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Checks the auth dict of one stage; raises MatrixError when it proves nothing."""


async def dummy_stage(_auth: Mapping[str, Any]) -> None:
    """Dummy authentication always succeeds.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#dummy-auth
    """


@dataclass(slots=True)
class _Session:
    operation: str
    until: int
    completed: list[str] = field(default_factory=list)


class AuthenticationRequired(MatrixError):
    """401 with the flows: without errcode when nothing was tried, with one when a proof was not accepted."""

    def __init__(
        self,
        flows: Sequence[Sequence[str]],
        session: str,
        completed: Sequence[str],
        refusal: MatrixError | None,
    ) -> None:
        super().__init__("M_UNAUTHORIZED", "Additional authentication is required", 401)
        self._body: dict[str, Any] = {
            "flows": [{"stages": list(stages)} for stages in flows],
            "params": {},
            "session": session,
        }
        if completed:
            self._body["completed"] = list(completed)
        if refusal is not None:
            self._body |= {"errcode": refusal.errcode, "error": refusal.message}

    def body(self) -> dict[str, Any]:
        """The authentication response.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#user-interactive-api-in-the-rest-api
        """
        return self._body


class UserInteractive:
    """Holds the sessions of authentications that are under way."""

    def __init__(self, now_ms: Clock) -> None:
        self._now_ms = now_ms
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    async def authenticate(
        self,
        operation: str,
        auth: Mapping[str, Any] | None,
        flows: Sequence[Sequence[str]],
        stages: Mapping[str, Stage],
    ) -> str:
        """Return the session when one of the flows is complete; otherwise raise AuthenticationRequired.

        `operation` says what is authorised (and for whom and on what, where that matters): a session is good
        for one operation only. `stages` has a check for each stage of the flows. Call `finish` when the
        operation is done.
        """
        session_id, session = self._find(operation, auth)
        if auth is None:
            raise AuthenticationRequired(flows, session_id, session.completed, None)
        stage = auth.get("type")
        if stage is not None and stage not in session.completed:
            await self._attempt(stage, auth, session_id, session, flows, stages)
        if session.completed and any(list(flow) == session.completed for flow in flows):
            return session_id
        raise AuthenticationRequired(flows, session_id, session.completed, None)

    def finish(self, session_id: str) -> None:
        """End a session: its operation is done."""
        self._sessions.pop(session_id, None)

    async def _attempt(
        self,
        stage: Any,
        auth: Mapping[str, Any],
        session_id: str,
        session: _Session,
        flows: Sequence[Sequence[str]],
        stages: Mapping[str, Stage],
    ) -> None:
        done = session.completed
        # "the flow's stages must be completed in order. Failing to follow the flows in order must result in
        # an HTTP 401 response"
        possible = {
            flow[len(done)] for flow in flows if list(flow[: len(done)]) == done and len(flow) > len(done)
        }
        if not isinstance(stage, str) or stage not in possible:
            refusal = MatrixError(
                "M_UNRECOGNIZED", "The authentication type is not the next stage of any flow"
            )
            raise AuthenticationRequired(flows, session_id, done, refusal)
        try:
            await stages[stage](auth)
        except MatrixError as refusal:
            raise AuthenticationRequired(flows, session_id, done, refusal) from refusal
        if stage not in done:  # it may have been completed by another request meanwhile
            done.append(stage)

    def _find(self, operation: str, auth: Mapping[str, Any] | None) -> tuple[str, _Session]:
        """The session that the auth dict names, or a new one: some clients authenticate in their first
        request.
        """
        now = self._now_ms()
        self._expire(now)
        session_id = None if auth is None else auth.get("session")
        session = self._sessions.get(session_id) if isinstance(session_id, str) else None
        if session is None or session.operation != operation or not isinstance(session_id, str):
            session_id, session = secrets.token_urlsafe(18), _Session(operation, 0)
            self._sessions[session_id] = session
        session.until = now + SESSION_MS
        self._sessions.move_to_end(session_id)
        return session_id, session

    def _expire(self, now: int) -> None:
        """Drop what has ended: the oldest stand first."""
        while self._sessions:
            session_id, session = next(iter(self._sessions.items()))
            if session.until > now and len(self._sessions) < MAX_SESSIONS:
                return
            del self._sessions[session_id]
