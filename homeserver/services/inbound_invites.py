"""Invites of our users by other servers: checked, signed, kept, and told to the user.

Spec: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Counter

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.events import Event
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.core.room_versions import RoomRules, UnknownRoomVersion, rules_for
from homeserver.core.signing import sign_event_as
from homeserver.services.identity import Identity
from homeserver.services.ignored_users import check_takes_invites
from homeserver.services.membership_limits import InviteLimits
from homeserver.services.outside_rooms import OutsideRooms
from homeserver.services.peer_access import acl_refusal
from homeserver.services.received_events import ReceivedEvents, offered_event
from homeserver.services.room_state import RoomStates
from homeserver.services.told_state import is_strict, told_state, told_version
from homeserver.storage import accounts, memberships, rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)

received_invites = Counter(
    "homeserver_received_invites_total", "Invites of other servers, by what became of them.", ["result"]
)


class InboundInvites:
    """Takes the invites that other servers have for our users."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        received: ReceivedEvents,
        outside: OutsideRooms,
        identity: Identity,
        limits: InviteLimits,
    ) -> None:
        """`received` checks signatures; the invites are kept in `outside` until the room's graph has them."""
        self._database = database
        self._states = states
        self._received = received
        self._outside = outside
        self._identity = identity
        self._limits = limits

    async def take(
        self,
        origin: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Any],
        *,
        version: str | None,
    ) -> Event:
        """The invite with our signature, once it is kept. version: None for servers that cannot say it, in versions 1 and 2.

        Repeated, it gets the same answer and is not shown a second time. Raises MatrixError: M_INCOMPATIBLE_ROOM_VERSION,
        M_INVALID_PARAM for what is not a valid invite, M_FORBIDDEN when the user cannot be invited, M_INVITE_BLOCKED,
        M_LIMIT_EXCEEDED.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
        """
        try:
            event, told = await self._checked(origin, room_id, event_id, pdu, room_state, version)
        except MatrixError as refused:
            received_invites.labels("refused").inc()
            log.info("refused the invite %s of %s to %s: %s", event_id, origin, room_id, refused.message)
            raise
        signed = sign_event_as(event, self._identity.server_name, self._identity.signing_key)
        await self._outside.invited(signed, told, origin)
        received_invites.labels("signed").inc()
        return signed

    async def _checked(
        self,
        origin: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Any],
        version: str | None,
    ) -> tuple[Event, list[dict[str, Any]]]:
        rules = _rules(told_version(room_state) if version is None else version, version is None)
        event = self._invite(origin, room_id, event_id, pdu, rules)
        await self._limit(event)
        await self._database.read(lambda tx: self._check_user(tx, origin, event))
        received = await self._received.verify([event])
        if event.event_id in received.dropped:
            reason = received.dropped[event.event_id].reason
            raise errors.invalid_param(f"The invite does not pass the signature check: {reason}")
        if event.event_id in received.redacted:
            raise errors.invalid_param("The content hash of the invite is wrong")
        told = await told_state(self._received, rules, room_id, room_state)
        if told.problems:
            log.info("invite %s of %s to %s: %s", event_id, origin, room_id, "; ".join(told.problems))
            if is_strict(rules):
                raise errors.invalid_param(f"The invite_room_state cannot be used: {told.problems[0]}")
        return event, told.events

    def _invite(
        self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any], rules: RoomRules
    ) -> Event:
        """The event, as far as it can be checked without knowing the room: nothing but an invite of ours is signed."""
        event = offered_event(pdu, rules, room_id)
        problem = None
        if event.event_id != event_id:
            problem = f"its ID is {event.event_id}, not {event_id}"
        elif event.type != "m.room.member":
            problem = f"its type is {event.type}, not m.room.member"
        elif event.membership != "invite":
            problem = "its membership is not invite"
        elif event.sender_domain != origin:
            problem = f"its sender {event.sender} is not a user of {origin}"
        elif (
            not is_valid_user_id(event.state_key)
            or domain_of(event.state_key or "") != self._identity.server_name
        ):
            problem = "its state_key is not a user of this server"
        elif not event.prev_event_ids or not event.auth_event_ids:
            problem = "it refers to no events before it"
        if problem:
            raise errors.invalid_param(f"This is not an invite that can be signed: {problem}")
        return event

    async def _limit(self, event: Event) -> None:
        """Count an invite that did not come before."""
        user_id = event.state_key or ""
        before = await self._outside.get(user_id, event.room_id)
        if before is not None and before.event.event_id == event.event_id:
            return
        self._limits.invited(event.room_id, user_id, None)

    async def _check_user(self, tx: Transaction, origin: str, event: Event) -> None:
        """Whether the user is here, and whether the room, if we are in it, lets this server invite the user."""
        user_id = event.state_key or ""
        account = await accounts.get(tx, user_id)
        if account is None or account.is_deactivated:
            raise errors.forbidden(f"There is no user {user_id} on this server")
        await check_takes_invites(tx, [user_id])
        room = await rooms.get(tx, event.room_id)
        if room is None:
            return
        if room.version != event.rules.version:
            raise errors.invalid_param(
                f"The room {event.room_id} is of version {room.version}, not {event.rules.version}"
            )
        # What we know of a room that we have left may be out of date.
        if not await memberships.is_server_joined(tx, room.room_nid, self._identity.server_name):
            return
        refusal = await acl_refusal(tx, self._states, room, origin)
        if refusal:
            raise errors.forbidden(f"{origin} may not take part in {event.room_id}: {refusal}")
        membership = await memberships.get(tx, room.room_nid, user_id)
        if membership is not None and membership.membership in ("join", "ban"):
            what = "in" if membership.membership == "join" else "banned from"
            raise errors.forbidden(f"{user_id} is already {what} the room {event.room_id}")


def _rules(version: str, of_first_endpoint: bool) -> RoomRules:
    """The rules of the room; "must assume that the room version is either "1" or "2"" where the request cannot say it."""
    if of_first_endpoint and version not in ("1", "2"):
        version = "1"
    try:
        return rules_for(version)
    except UnknownRoomVersion as unknown:
        raise errors.incompatible_room_version(version) from unknown
