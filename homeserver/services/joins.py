"""Joining rooms that other servers are in: the asking side.

Several servers are tried in turn. What a server offers us to sign is checked before, what it says the room's state is afterwards;
nothing of it is stored until all of it has been verified, and then in one unit of work.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core import errors
from homeserver.core.auth_rules import authorise
from homeserver.core.errors import InvalidEvent, MatrixError
from homeserver.core.events import Event, make_event
from homeserver.core.identifiers import domain_of, is_valid_server_name
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import JoinedRoom, MembershipTemplate, make_join, send_join
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.imported_state import CREATE, BadState, ImportedState, imported_state
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.room_imports import RoomImports
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)

MAX_SERVERS = 20
ENOUGH_REFUSALS = 3
MAKE_JOIN_TIMEOUT_S = 30.0
PROGRESS_EVERY_S = 3.0

# "may be passed through to clients": what a resident says of the user rather than of itself.
TELLING = frozenset(
    {"M_FORBIDDEN", "M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN", "M_INCOMPATIBLE_ROOM_VERSION"}
)


class JoinRefused(Exception):
    """A server's part in the handshake cannot be used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Attempt:
    """How far a join through one server came."""

    server: str
    stage: str = "make_join"
    started: float = field(default_factory=time.monotonic)
    failure: str = ""
    answer: FederationError | None = None

    def __str__(self) -> str:
        return f"{self.server}: {self.stage}: {self.failure}"


class RemoteJoins:
    """Joins rooms through the servers that are in them."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        received: ReceivedEvents,
        imports: RoomImports,
        in_progress: JoinsInProgress,
        identity: Identity,
        clock: Clock,
    ) -> None:
        """`received` verifies events, `imports` stores the room, `in_progress` holds back what others send meanwhile."""
        self._database = database
        self._client = client
        self._received = received
        self._imports = imports
        self._in_progress = in_progress
        self._identity = identity
        self._clock = clock
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Make a user of ours a member of a room, through the servers in `via` and those that we know of besides.

        `content` is what the member event has besides `membership` (displayname, avatar_url, reason). The same user's second
        request waits for the first; another user's request follows when the first is over. Once begun, a join goes on though
        the client may hang up.

        Raises MatrixError: M_NOT_FOUND when no server is known or none knows the room, M_FORBIDDEN and the like when the room
        does not let the user in, M_UNKNOWN (502) that says which servers were tried and how far each came.
        """
        key = (user_id, room_id)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._join(user_id, room_id, via, content))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        await asyncio.shield(task)

    async def stop(self) -> None:
        """End the joins that are under way; nothing of them is stored."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _servers(self, user_id: str, room_id: str, via: Sequence[str]) -> list[str]:
        """The servers to ask, in their order."""
        known = await self._database.read(lambda tx: _servers_known(tx, user_id, room_id))
        # The server that made the room may still be in it.
        maker = [domain_of(room_id)] if ":" in room_id else []
        named = (server for server in (*via, *known, *maker) if is_valid_server_name(server))
        servers = [server for server in dict.fromkeys(named) if server != self._identity.server_name]
        if not servers:
            raise errors.not_found(
                f"No server is known that is in {room_id}: name one with `via`, or join by an alias of the room"
            )
        return servers[:MAX_SERVERS]

    async def _join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        async with self._in_progress.joining(room_id):
            attempts: list[Attempt] = []
            for server in await self._servers(user_id, room_id, via):
                attempt = Attempt(server)
                attempts.append(attempt)
                progress = asyncio.create_task(_log_progress(attempt, room_id))
                try:
                    await self._join_through(attempt, user_id, room_id, content)
                except FederationError as error:
                    attempt.failure, attempt.answer = error.reason, error
                except (JoinRefused, BadState) as error:
                    attempt.failure = error.reason
                else:
                    taken = time.monotonic() - attempt.started
                    log.info("%s joined %s through %s in %.1f s", user_id, room_id, server, taken)
                    return
                finally:
                    progress.cancel()
                log.warning("%s could not join %s through %s", user_id, room_id, attempt)
                if _is_settled(attempts):
                    break
            raise _failed(room_id, attempts)

    async def _join_through(
        self, attempt: Attempt, user_id: str, room_id: str, content: Mapping[str, Any]
    ) -> None:
        """One server's try, from the template to the stored room."""
        try:
            async with asyncio.timeout(MAKE_JOIN_TIMEOUT_S):
                template = await make_join(
                    self._client, attempt.server, room_id, user_id, list(ROOM_VERSIONS)
                )
        except TimeoutError as error:
            raise JoinRefused(f"no answer within {MAKE_JOIN_TIMEOUT_S:g} s") from error
        event = self._event(attempt.server, template, user_id, room_id, content)
        attempt.stage = "send_join"
        joined = await send_join(self._client, attempt.server, event)
        if joined.members_omitted:
            raise JoinRefused("it left out members, which it was not asked to do")
        attempt.stage = "verifying the room's state"
        event = await self._signed_event(event, joined)
        state = await self._verified_state(event, joined, room_id)
        attempt.stage = "storing the room"
        outcome = await self._imports.store(event, state)
        if outcome is not None:
            raise JoinRefused(f"the room's state does not allow the join: {outcome.reason} ({outcome.rule})")

    def _event(
        self,
        server: str,
        template: MembershipTemplate,
        user_id: str,
        room_id: str,
        content: Mapping[str, Any],
    ) -> Event:
        """The event that we sign: made by us of the parts of the template that have been checked."""
        problem = _template_problem(template, server)
        if problem:
            raise JoinRefused(f"its template cannot be signed: {problem}")
        full = {**content, "membership": "join"}
        full.pop("join_authorised_via_users_server", None)
        if template.authorised_via is not None:
            full["join_authorised_via_users_server"] = template.authorised_via
        chosen = template.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
        try:
            return make_event(
                template.rules,
                server_name=self._identity.server_name,
                signing_key=self._identity.signing_key,
                room_id=room_id,
                type="m.room.member",
                sender=user_id,
                content=full,
                state_key=user_id,
                prev_events=template.prev_events,
                auth_events=template.auth_events,
                depth=template.depth,
                origin_server_ts=self._clock(),
                event_id=f"${secrets.token_urlsafe(18)}:{self._identity.server_name}" if chosen else None,
            )
        except InvalidEvent as invalid:
            raise JoinRefused(f"its template does not make a valid event: {invalid.reason}") from invalid

    async def _signed_event(self, event: Event, joined: JoinedRoom) -> Event:
        """Our event, with the signatures that the resident server added."""
        if joined.event is None:
            signed = event
        else:
            ours = {name: value for name, value in event.pdu.items() if name != "signatures"}
            theirs = {name: value for name, value in joined.event.pdu.items() if name != "signatures"}
            if ours != theirs:
                raise JoinRefused("it sent back another event than the one we signed")
            signed = joined.event
        received = await self._received.verify([signed])
        if event.event_id in received.dropped:
            raise JoinRefused(
                f"the join event is not signed as it must be: {received.dropped[event.event_id].reason}"
            )
        return signed

    async def _verified_state(self, event: Event, joined: JoinedRoom, room_id: str) -> ImportedState:
        """The room's state before the join: signatures, hashes and auth rules checked. Raises JoinRefused, BadState."""
        offered = {each.event_id: each for each in (*joined.auth_chain.events, *joined.state.events)}
        received = await self._received.verify(list(offered.values()))
        for event_id, dropped in received.dropped.items():
            log.info("join of %s: dropped %s: %s", room_id, event_id, dropped.reason)
        state_ids = [each.event_id for each in joined.state.events]
        state = await imported_state(state_ids, received.events, {})
        lost = len(joined.state.invalid) + len(state_ids) - len(state.entries)
        if lost:
            log.warning(
                "join of %s: %d of %d state events were dropped", room_id, lost, lost + len(state.entries)
            )
        create = received.events[state.entries[CREATE]]
        version = create.content.get("room_version", "1")
        if version != event.rules.version:
            raise JoinRefused(
                f"the room is of version {version!r:.40}, not {event.rules.version} as make_join said"
            )
        refusal = authorise(
            event, {key: received.events[event_id] for key, event_id in state.entries.items()}
        )
        if refusal:
            raise JoinRefused(f"the room's state does not allow the join: {refusal.reason} ({refusal.rule})")
        return state


def _template_problem(template: MembershipTemplate, server: str) -> str | None:
    """What `make_join` left to check of a template."""
    if not template.prev_events:
        return "it has no prev_events"
    for name, references in (("prev_events", template.prev_events), ("auth_events", template.auth_events)):
        ids = [reference if isinstance(reference, str) else reference[0] for reference in references]
        if len(set(ids)) != len(ids):
            return f"its {name} names an event twice"
    if template.depth < 1:
        return "its depth is 0, which only a create event has"
    if template.authorised_via is not None:
        if not template.rules.restricted_join:
            return f"it names an authorising user, which room version {template.rules.version} does not know"
        # "An arbitrary user ID belonging to the resident server in the room being joined"
        if domain_of(template.authorised_via) != server:
            return f"the authorising user {template.authorised_via} is not one of {server}"
    return None


async def _servers_known(tx: Transaction, user_id: str, room_id: str) -> list[str]:
    """Servers that may be in a room: the one that invited the user, and those of an earlier stay of ours."""
    room = await rooms.get(tx, room_id)
    if room is None:
        return []
    membership = await memberships.get(tx, room.room_nid, user_id)
    inviting = [domain_of(membership.sender)] if membership and membership.membership == "invite" else []
    return [*inviting, *await memberships.joined_servers(tx, room.room_nid)]


async def _log_progress(attempt: Attempt, room_id: str) -> None:
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        taken = time.monotonic() - attempt.started
        log.info("joining %s through %s: %s (%.0f s so far)", room_id, attempt.server, attempt.stage, taken)


def _is_settled(attempts: Sequence[Attempt]) -> bool:
    """Whether no other server will say anything else: the room's version is not ours, or several do not let the user in."""
    codes = [attempt.answer.errcode for attempt in attempts if attempt.answer]
    return "M_INCOMPATIBLE_ROOM_VERSION" in codes or codes.count("M_FORBIDDEN") >= ENOUGH_REFUSALS


def _failed(room_id: str, attempts: Sequence[Attempt]) -> MatrixError:
    """What the client is told: a refusal of the user as it is, else all that was tried."""
    tried = "; ".join(str(attempt) for attempt in attempts)
    telling = [attempt.answer for attempt in attempts if attempt.answer and attempt.answer.errcode in TELLING]
    if telling and telling[0].errcode and telling[0].status:
        extra = {name: value for name, value in (telling[0].body or {}).items() if name == "room_version"}
        return MatrixError(
            telling[0].errcode, f"Could not join {room_id}. Tried {tried}", telling[0].status, **extra
        )
    if all(attempt.answer and attempt.answer.status == 404 for attempt in attempts):
        return errors.not_found(f"Could not join {room_id}. Tried {tried}")
    return errors.unknown(f"Could not join {room_id}. Tried {tried}", 502)
