"""What our users do in rooms that only other servers are in: join, knock, refuse an invite, take a knock back.

Spec: https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
Spec: https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from homeserver.core import errors
from homeserver.core.events import Event, make_event, reference_to
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.membership import (
    MembershipTemplate,
    make_knock,
    make_leave,
    send_knock,
    send_leave,
)
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import Clock
from homeserver.services.handshakes import (
    NO_ANSWER,
    Attempt,
    HandshakeRefused,
    event_of_template,
    failed,
    is_settled,
    servers_to_ask,
)
from homeserver.services.identity import Identity
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.told_state import told_state
from homeserver.services.untold_leaves import next_try_ms
from homeserver.storage.out_of_room import OutOfRoom

log = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 15.0
"""How long a user who refuses an invite waits for the servers in the room, all together."""
KNOCK_TIMEOUT_S = 30.0
"""How long one server may take."""


class Joins(Protocol):
    """Joins rooms through servers that are in them."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Make the user a member of the room. Raises MatrixError that says which servers were tried and how far each got."""
        ...

    def is_joining(self, user_id: str, room_id: str) -> bool:
        """Whether such a join is under way."""
        ...

    async def wait_for_others(self, room_id: str) -> bool:
        """Return once nobody is joining the room any more; whether somebody was."""
        ...


class Inbox(Protocol):
    """Takes events of rooms that we are in."""

    async def take(self, origin: str, room_id: str, pdus: Sequence[Any]) -> dict[str, str | None]:
        """Handle PDUs of one room: event ID to None, or to what went wrong."""
        ...


@dataclass(frozen=True, slots=True)
class _Left:
    """The leave event that a server in the room has taken; None when none did. may_work_later: because some did not answer."""

    event: Event | None
    may_work_later: bool


class RemoteMemberships:
    """Changes the memberships of our users through the servers that are in the room."""

    def __init__(
        self,
        outside: OutsideRooms,
        joins: Joins,
        client: FederationClient,
        received: ReceivedEvents,
        inbox: Inbox,
        identity: Identity,
        clock: Clock,
    ) -> None:
        """`outside` keeps what a user is in rooms that we are not in; `received` checks what is told of them. `inbox` takes the
        invites to rooms that we are in."""
        self._outside = outside
        self._joins = joins
        self._client = client
        self._received = received
        self._inbox = inbox
        self._identity = identity
        self._clock = clock

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Make the user a member of the room. Raises MatrixError that says which servers were tried and how far each got."""
        await self._joins.join(user_id, room_id, via, content)

    def is_joining(self, user_id: str, room_id: str) -> bool:
        """Whether such a join is under way: `join` waits for it then."""
        return self._joins.is_joining(user_id, room_id)

    async def wait_for_others(self, room_id: str) -> bool:
        """Return once nobody is joining the room any more; whether somebody was."""
        return await self._joins.wait_for_others(room_id)

    async def bring_invite(self, user_id: str, room_id: str) -> None:
        """Make the user's invite part of a room that we are in, where it may come later than the user's answer to it."""
        record = await self._outside.get(user_id, room_id)
        if record is None or record.membership != "invite":
            return
        problem = (await self._inbox.take(record.via, room_id, [dict(record.event.pdu)])).get(
            record.event.event_id
        )
        if problem is not None:
            log.info("the invite of %s to %s is not taken into the room: %s", user_id, room_id, problem)

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Ask to be let into a room. content: that of the member event, without `membership`.

        Raises MatrixError: M_NOT_FOUND when no server is known or none knows the room, M_FORBIDDEN when it does not take knocks
        or not the user's, M_UNKNOWN (502) that says which servers were tried and how far each came.
        """
        before = await self._outside.get(user_id, room_id)
        maker = [room_id.partition(":")[2]] if ":" in room_id else []
        known = await self._outside.servers(before) if before else []
        servers = servers_to_ask((*via, *known, *maker), self._identity.server_name)
        if not servers:
            raise errors.not_found(
                f"No server is known that is in {room_id}: name one with `via`, or knock by an alias of the room"
            )
        attempts: list[Attempt] = []
        for server in servers:
            attempt = Attempt(server, "make_knock")
            attempts.append(attempt)
            try:
                async with asyncio.timeout(KNOCK_TIMEOUT_S):
                    event, told = await self._knock_through(attempt, user_id, room_id, content)
            except (FederationError, HandshakeRefused) as error:
                attempt.failed(error)
            except TimeoutError:
                attempt.failure = f"no answer within {KNOCK_TIMEOUT_S:g} s"
            else:
                await self._outside.knocked(event, told, server, before)
                log.info("%s knocks on %s through %s", user_id, room_id, server)
                return
            log.warning("%s could not knock on %s through %s", user_id, room_id, attempt)
            if is_settled(attempts):
                break
        raise failed(f"knock on {room_id}", attempts)

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> bool:
        """Refuse an invite, or take a knock back; False when the user has none that the room's graph does not know of.

        When no server in the room takes it, the user is rid of it all the same.
        """
        record = await self._outside.get(user_id, room_id)
        if record is None or record.membership not in ("invite", "knock"):
            return False
        content: dict[str, Any] = {"membership": "leave"}
        if reason is not None:
            content["reason"] = reason
        left = await self._left_through_others(record, content)
        retry_at = next_try_ms(self._clock(), 1) if left.may_work_later else None
        await self._outside.ended(
            record, left.event or self._left_alone(record, content), told_later_at=retry_at
        )
        return True

    async def tell(self, record: OutOfRoom) -> bool:
        """Tell the servers in a room of a leave of which they could not be told; False when it may work later."""
        return not (await self._left_through_others(record, record.event.content)).may_work_later

    async def _knock_through(
        self, attempt: Attempt, user_id: str, room_id: str, content: Mapping[str, Any]
    ) -> tuple[Event, list[dict[str, Any]]]:
        versions = [version for version, rules in ROOM_VERSIONS.items() if rules.knock]
        template = await make_knock(self._client, attempt.server, room_id, user_id, versions)
        event = self._event(attempt.server, template, room_id, user_id, {**content, "membership": "knock"})
        attempt.stage = "send_knock"
        answer = await send_knock(self._client, attempt.server, event)
        # "Entries which are improperly signed or formatted SHOULD be removed by the server"
        told = await told_state(self._received, event.rules, room_id, answer)
        if told.problems:
            log.info("knock on %s through %s: %s", room_id, attempt.server, "; ".join(told.problems))
        return event, told.events

    async def _left_through_others(self, record: OutOfRoom, content: Mapping[str, Any]) -> _Left:
        """Have one of the servers in the room take the leave."""
        servers = servers_to_ask(await self._outside.servers(record), self._identity.server_name)
        attempts: list[Attempt] = []
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                for server in servers:
                    attempt = Attempt(server, "make_leave", failure=NO_ANSWER)
                    attempts.append(attempt)
                    try:
                        return _Left(await self._leave_through(attempt, record, content), False)
                    except (FederationError, HandshakeRefused) as error:
                        attempt.failed(error)
        except TimeoutError:
            pass
        tried = "; ".join(str(attempt) for attempt in attempts) or "no server of the room is known"
        log.warning(
            "%s has refused the invite to %s, or taken a knock back, but the room could not be told: %s",
            record.user_id,
            record.room_id,
            tried,
        )
        return _Left(None, any(attempt.may_work_later for attempt in attempts))

    async def _leave_through(self, attempt: Attempt, record: OutOfRoom, content: Mapping[str, Any]) -> Event:
        template = await make_leave(self._client, attempt.server, record.room_id, record.user_id)
        rules = record.event.rules
        if template.rules is not rules:
            # Who does not say the version has a room of version 1 or 2.
            if {template.rules.version, rules.version} != {"1", "2"}:
                raise HandshakeRefused(
                    f"its template is of room version {template.rules.version}, not {rules.version}"
                )
            template = replace(template, rules=rules)
        event = self._event(attempt.server, template, record.room_id, record.user_id, content)
        attempt.stage = "send_leave"
        await send_leave(self._client, attempt.server, event)
        return event

    def _event(
        self,
        server: str,
        template: MembershipTemplate,
        room_id: str,
        user_id: str,
        content: Mapping[str, Any],
    ) -> Event:
        return event_of_template(
            template,
            server,
            self._identity,
            self._clock,
            room_id=room_id,
            user_id=user_id,
            content=content,
        )

    def _left_alone(self, record: OutOfRoom, content: Mapping[str, Any]) -> Event:
        """A leave event for the user's eyes alone: it follows the invite or the knock, and is sent to nobody."""
        chosen = record.event.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
        after = [reference_to(record.event)]
        try:
            return make_event(
                record.event.rules,
                server_name=self._identity.server_name,
                signing_key=self._identity.signing_key,
                room_id=record.room_id,
                type="m.room.member",
                sender=record.user_id,
                content=content,
                state_key=record.user_id,
                prev_events=after,
                auth_events=after,
                depth=min(record.event.depth + 1, record.event.rules.max_depth),
                origin_server_ts=self._clock(),
                event_id=f"${secrets.token_urlsafe(18)}:{self._identity.server_name}" if chosen else None,
            )
        except errors.InvalidEvent as invalid:  # a reason that is too long
            raise errors.from_invalid_event(invalid) from invalid
