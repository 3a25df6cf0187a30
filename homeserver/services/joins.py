"""Joining rooms that other servers are in: the asking side.

Several servers are tried in turn. What a server offers us to sign is checked before, what it says the room's state is afterwards;
nothing of it is stored until all of it has been verified, and then in one unit of work.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core import errors
from homeserver.core.auth_rules import authorise
from homeserver.core.events import Event
from homeserver.core.identifiers import domain_of
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import get_event
from homeserver.federation.remote.membership import JoinedRoom, make_join, send_join
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import Clock
from homeserver.services.handshakes import (
    Attempt,
    HandshakeRefused,
    event_of_template,
    failed,
    is_settled,
    servers_to_ask,
)
from homeserver.services.identity import Identity
from homeserver.services.imported_state import (
    CREATE,
    BadState,
    ImportedState,
    imported_state,
    rejected_before,
)
from homeserver.services.joins_in_progress import JoinsInProgress
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.room_imports import RoomImports
from homeserver.storage import memberships, out_of_room, rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)

MAKE_JOIN_TIMEOUT_S = 30.0
PROGRESS_EVERY_S = 3.0


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

    def is_joining(self, user_id: str, room_id: str) -> bool:
        """Whether such a join is under way: `join` waits for it then."""
        return (user_id, room_id) in self._running

    async def wait_for_others(self, room_id: str) -> bool:
        """Return once nobody is joining the room any more; whether somebody was."""
        return await self._in_progress.wait(room_id)

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
        servers = servers_to_ask((*via, *known, *maker), self._identity.server_name)
        if not servers:
            raise errors.not_found(
                f"No server is known that is in {room_id}: name one with `via`, or join by an alias of the room"
            )
        return servers

    async def _join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        async with self._in_progress.joining(room_id):
            attempts: list[Attempt] = []
            for server in await self._servers(user_id, room_id, via):
                attempt = Attempt(server, "make_join")
                attempts.append(attempt)
                progress = asyncio.create_task(_log_progress(attempt, room_id))
                try:
                    await self._join_through(attempt, user_id, room_id, content)
                except (FederationError, HandshakeRefused, BadState) as error:
                    attempt.failed(error)
                else:
                    taken = time.monotonic() - attempt.started
                    log.info("%s joined %s through %s in %.1f s", user_id, room_id, server, taken)
                    return
                finally:
                    progress.cancel()
                log.warning("%s could not join %s through %s", user_id, room_id, attempt)
                if is_settled(attempts):
                    break
            raise failed(f"join {room_id}", attempts)

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
            raise HandshakeRefused(f"no answer within {MAKE_JOIN_TIMEOUT_S:g} s") from error
        event = event_of_template(
            template,
            attempt.server,
            self._identity,
            self._clock,
            room_id=room_id,
            user_id=user_id,
            content={**content, "membership": "join"},
        )
        attempt.stage = "send_join"
        joined = await send_join(self._client, attempt.server, event)
        if joined.members_omitted:
            raise HandshakeRefused("it left out members, which it was not asked to do")
        attempt.stage = "verifying the room's state"
        event = await self._signed_event(event, joined)
        state = await self._verified_state(event, joined, room_id)
        attempt.stage = "storing the room"
        lags = await self._lags(attempt.server, event, state)
        outcome = await self._imports.store(event, state, lags=lags)
        if outcome is not None:
            raise HandshakeRefused(
                f"the room's state does not allow the join: {outcome.reason} ({outcome.rule})"
            )

    async def _lags(self, server: str, join: Event, state: ImportedState) -> bool:
        """Whether a server that has let us in does not have the end of our earlier stay in the room."""
        for event_id in await self._imports.unnamed_memberships(join.room_id, state):
            try:
                await get_event(self._client, server, event_id, join.rules, join.room_id)
            except FederationError as error:
                if error.status == 404:
                    return True
        return False

    async def _signed_event(self, event: Event, joined: JoinedRoom) -> Event:
        """Our event, with the signatures that the resident server added."""
        if joined.event is None:
            signed = event
        else:
            ours = {name: value for name, value in event.pdu.items() if name != "signatures"}
            theirs = {name: value for name, value in joined.event.pdu.items() if name != "signatures"}
            if ours != theirs:
                raise HandshakeRefused("it sent back another event than the one we signed")
            signed = joined.event
        received = await self._received.verify([signed])
        if event.event_id in received.dropped:
            raise HandshakeRefused(
                f"the join event is not signed as it must be: {received.dropped[event.event_id].reason}"
            )
        return signed

    async def _verified_state(self, event: Event, joined: JoinedRoom, room_id: str) -> ImportedState:
        """The room's state before the join: signatures, hashes and auth rules checked. Raises HandshakeRefused, BadState."""
        offered = {each.event_id: each for each in (*joined.auth_chain.events, *joined.state.events)}
        received = await self._received.verify(list(offered.values()))
        for event_id, dropped in received.dropped.items():
            log.info("join of %s: dropped %s: %s", room_id, event_id, dropped.reason)
        state_ids = [each.event_id for each in joined.state.events]
        rejected = await self._database.read(lambda tx: rejected_before(tx, room_id, offered))
        state = await imported_state(state_ids, received.events, {}, rejected)
        lost = len(joined.state.invalid) + len(state_ids) - len(state.entries)
        if lost:
            log.warning(
                "join of %s: %d of %d state events were dropped", room_id, lost, lost + len(state.entries)
            )
        create = received.events[state.entries[CREATE]]
        version = create.content.get("room_version", "1")
        if version != event.rules.version:
            raise HandshakeRefused(
                f"the room is of version {version!r:.40}, not {event.rules.version} as make_join said"
            )
        refusal = authorise(
            event, {key: received.events[event_id] for key, event_id in state.entries.items()}
        )
        if refusal:
            raise HandshakeRefused(
                f"the room's state does not allow the join: {refusal.reason} ({refusal.rule})"
            )
        return state


async def _servers_known(tx: Transaction, user_id: str, room_id: str) -> list[str]:
    """Servers that may be in a room: the one that invited the user, and those of an earlier stay of ours."""
    outside = await out_of_room.get(tx, user_id, room_id)
    inviting = [outside.via, outside.event.sender_domain] if outside else []
    room = await rooms.get(tx, room_id)
    if room is None:
        return inviting
    membership = await memberships.get(tx, room.room_nid, user_id)
    if membership and membership.membership == "invite":
        inviting.append(domain_of(membership.sender))
    return [*inviting, *await memberships.joined_servers(tx, room.room_nid)]


async def _log_progress(attempt: Attempt, room_id: str) -> None:
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        taken = time.monotonic() - attempt.started
        log.info("joining %s through %s: %s (%.0f s so far)", room_id, attempt.server, attempt.stage, taken)
