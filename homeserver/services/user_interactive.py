"""User-interactive authentication: an operation is repeated with one proof after another until a flow is
complete.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.errors import MatrixError, not_found
from homeserver.services.clock import Clock

DUMMY = "m.login.dummy"

# Sessions live in memory: a restart ends them, and the client is answered with a new one. Unused for this
# long (ms), they end; beyond the number the one unused for longest goes first.
SESSION_MS = 15 * 60 * 1000
MAX_SESSIONS = 10_000

Stage = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Checks the auth dict of one stage, and answers what it has proved; raises MatrixError when that is nothing."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A complete authentication. proved: what each stage has proved."""

    session_id: str
    proved: Mapping[str, Any]


def operation_key(name: str, user_id: str | None, parameters: Mapping[str, Any]) -> str:
    """What a session is good for: an operation of this user's with these parameters, and no other.

    The parameters may be secret: only their hash is kept.
    """
    return f"{name} {user_id or '-'} {hashlib.sha256(encode_canonical(parameters)).hexdigest()}"


async def dummy_stage(_auth: Mapping[str, Any]) -> None:
    """Dummy authentication always succeeds.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#dummy-auth
    """


@dataclass(slots=True)
class _Session:
    operation: str
    until: int
    flows: Sequence[Sequence[str]] = ()
    stages: Mapping[str, Stage] = field(default_factory=dict)
    completed: list[str] = field(default_factory=list)
    proved: dict[str, Any] = field(default_factory=dict)

    def is_complete(self) -> bool:
        return bool(self.completed) and any(list(flow) == self.completed for flow in self.flows)

    def next_stages(self) -> set[str]:
        """Those that would bring a flow further."""
        done = self.completed
        return {
            flow[len(done)]
            for flow in self.flows
            if list(flow[: len(done)]) == done and len(flow) > len(done)
        }


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
    ) -> Authenticated:
        """Return what was proved when one of the flows is complete; otherwise raise AuthenticationRequired.

        `operation` says what is authorised (and for whom and on what, where that matters): a session is good
        for one operation only. `stages` has a check for each stage of the flows. Call `finish` when the
        operation is done. Raises M_LIMIT_EXCEEDED when a stage does.
        """
        session_id, session = self._find(operation, auth)
        session.flows, session.stages = flows, stages
        if auth is None:
            raise AuthenticationRequired(flows, session_id, session.completed, None)
        stage = auth.get("type")
        if stage is not None and stage not in session.completed:
            try:
                await _attempt(session, stage, auth)
            except MatrixError as refusal:
                if refusal.status == 429:
                    raise
                raise AuthenticationRequired(flows, session_id, session.completed, refusal) from refusal
        if session.is_complete():
            return Authenticated(session_id, dict(session.proved))
        raise AuthenticationRequired(flows, session_id, session.completed, None)

    def finish(self, session_id: str) -> None:
        """End a session: its operation is done."""
        self._sessions.pop(session_id, None)

    def awaits(self, session_id: str, stage: str) -> bool:
        """Whether a session waits for this stage; False when it has been completed. Raises M_NOT_FOUND when it never will be.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#fallback
        """
        session = self._known(session_id)
        if stage in session.completed:
            return False
        if stage not in session.next_stages():
            raise not_found("This is not the next step of the authentication")
        return True

    async def attempt(self, session_id: str, stage: str, auth: Mapping[str, Any]) -> None:
        """Try a stage apart from the operation, which is repeated afterwards. Raises what the stage does, M_NOT_FOUND."""
        session = self._known(session_id)
        session.until = self._now_ms() + SESSION_MS
        self._sessions.move_to_end(session_id)
        await _attempt(session, stage, auth)

    def proofs(self, stage: str) -> list[Any]:
        """What has been proved by a stage in the sessions that are under way."""
        self._expire(self._now_ms())
        return [session.proved[stage] for session in self._sessions.values() if stage in session.proved]

    def _known(self, session_id: str) -> _Session:
        self._expire(self._now_ms())
        session = self._sessions.get(session_id)
        if session is None:
            raise not_found("This authentication is over, or has taken too long: go back and start again")
        return session

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


async def _attempt(session: _Session, stage: Any, auth: Mapping[str, Any]) -> None:
    # "the flow's stages must be completed in order. Failing to follow the flows in order must result in
    # an HTTP 401 response"
    if not isinstance(stage, str) or stage not in session.next_stages():
        raise MatrixError("M_UNRECOGNIZED", "The authentication type is not the next stage of any flow")
    proved = await session.stages[stage](auth)
    if stage not in session.completed:  # it may have been completed by another request meanwhile
        session.completed.append(stage)
        session.proved[stage] = proved
