"""The resident server's side of joins, leaves and knocks: the template, and taking the signed event into the room.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
Spec: https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
Spec: https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core import errors
from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event, has_valid_content_hash
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.core.signing import authorising_server, sign_event_as
from homeserver.services.auth_chains import auth_chain
from homeserver.services.identity import Identity
from homeserver.services.membership_limits import JoinLimits
from homeserver.services.peer_access import known_room
from homeserver.services.received_events import EventSignatures, offered_event
from homeserver.services.restricted_joins import authorising_user
from homeserver.services.room_graph import MissingEvents, Verdict
from homeserver.services.room_state import RoomStates
from homeserver.services.stripped_state import stripped_state
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """What send_join is answered: the state before the join, its auth chain, and the event with our signature."""

    event: Event
    state: list[Event]
    auth_chain: list[Event]
    servers_in_room: list[str]


class Resident:
    """Lets users of other servers into rooms that we are in, knock on them, and refuse to come."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        signatures: EventSignatures,
        identity: Identity,
        limits: JoinLimits,
    ) -> None:
        """Events go into rooms through `timeline`; `signatures` has the keys of the other servers."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._signatures = signatures
        self._identity = identity
        self._limits = limits

    async def make_join(
        self, origin: str, room_id: str, user_id: str, versions: Collection[str]
    ) -> dict[str, Any]:
        """The template of a join event: `{"room_version", "event"}`. `versions`: the room versions that `origin` supports.

        Raises MatrixError: M_FORBIDDEN, M_NOT_FOUND, M_INCOMPATIBLE_ROOM_VERSION, M_LIMIT_EXCEEDED and those of restricted rooms.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
        """
        self._limits.check_room(room_id)
        return await self._template(origin, room_id, user_id, "join", versions)

    async def make_knock(
        self, origin: str, room_id: str, user_id: str, versions: Collection[str]
    ) -> dict[str, Any]:
        """The template of a knock event. Raises MatrixError: M_FORBIDDEN, M_NOT_FOUND, M_INCOMPATIBLE_ROOM_VERSION.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
        """
        return await self._template(origin, room_id, user_id, "knock", versions)

    async def make_leave(self, origin: str, room_id: str, user_id: str) -> dict[str, Any]:
        """The template of a leave event: an invite refused, a knock taken back. Raises M_FORBIDDEN, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
        """
        return await self._template(origin, room_id, user_id, "leave", None)

    async def _template(
        self, origin: str, room_id: str, user_id: str, membership: str, versions: Collection[str] | None
    ) -> dict[str, Any]:
        if not is_valid_user_id(user_id) or domain_of(user_id) != origin:
            raise errors.forbidden(f"{user_id} is not a user of {origin}")

        async def work(tx: Transaction) -> dict[str, Any]:
            room = await self._our_room(tx, room_id, origin)
            if versions is not None and room.version not in versions:
                raise errors.incompatible_room_version(room.version)
            content: dict[str, Any] = {"membership": membership}
            if membership == "join":
                server_name = self._identity.server_name
                authoriser = await authorising_user(tx, self._states, room, user_id, server_name)
                if authoriser is not None:
                    content["join_authorised_via_users_server"] = authoriser
            draft = Draft(user_id, "m.room.member", content, user_id)
            event = await self._timeline.template(tx, room, draft)
            return {"room_version": room.version, "event": {**event, "origin": self._identity.server_name}}

        return await self._database.write(work)

    async def send_join(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> JoinAnswer:
        """Take a signed join event into the room and send it on to the room's other servers.

        Raises MatrixError: M_INVALID_PARAM for an event that is not a join of a user of `origin`, M_FORBIDDEN when the room does
        not let the user in, M_NOT_FOUND for a room that we are not in, M_LIMIT_EXCEEDED, and those of restricted rooms.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
        """
        self._limits.check_room(room_id)
        room, event = await self._take(origin, room_id, event_id, pdu, "join")
        return await self._database.read(lambda tx: self._answer(tx, room, event))

    async def send_leave(self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """Take a signed leave event into the room and send it on to the room's other servers.

        Raises MatrixError: M_INVALID_PARAM for an event that is not a leave of a user of `origin`, M_FORBIDDEN for one who is not
        in the room, M_NOT_FOUND for a room that we are not in.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
        """
        await self._take(origin, room_id, event_id, pdu, "leave")

    async def send_knock(
        self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> list[Event]:
        """Take a signed knock event into the room and send it on; returns the events that tell the one who knocks of the room.

        Raises MatrixError as `send_leave` does, M_FORBIDDEN when the room does not take the knock.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
        """
        room, _ = await self._take(origin, room_id, event_id, pdu, "knock")

        async def told(tx: Transaction) -> list[Event]:
            now = await rooms.get(tx, room.room_id) or room
            return await stripped_state(tx, self._states, now.current_state)

        return await self._database.read(told)

    async def _take(
        self, origin: str, room_id: str, event_id: str, pdu: Mapping[str, Any], membership: str
    ) -> tuple[Room, Event]:
        """Check an event of a handshake and make it part of the room."""
        room = await self._database.read(lambda tx: self._our_room(tx, room_id, origin))
        event = _member_event(origin, room, event_id, pdu, membership)
        if membership == "join":
            await self._check_authorisation(room, event)
            # Our signature goes on before the check, because a restricted join needs it; it says only that we pass the event on.
            event = sign_event_as(event, self._identity.server_name, self._identity.signing_key)
        problem = (await self._signatures.verify_events([event]))[event.event_id]
        if problem is not None:
            raise errors.invalid_param(
                f"The {membership} event {event_id} does not pass the signature check: {problem}"
            )
        if not has_valid_content_hash(event):
            raise errors.invalid_param(f"The content hash of the {membership} event {event_id} is wrong")
        await self._accept(origin, event, membership)
        return room, event

    async def _our_room(self, tx: Transaction, room_id: str, origin: str) -> Room:
        room = await known_room(tx, self._states, room_id, origin)
        if not await memberships.is_server_joined(tx, room.room_nid, self._identity.server_name):
            raise errors.not_found(f"This server is not in the room {room_id}")
        return room

    async def _check_authorisation(self, room: Room, event: Event) -> None:
        """See to it that we vouch for nobody who meets no condition, though the event may claim that we do."""
        try:
            server = authorising_server(event)
        except InvalidEvent as invalid:
            raise errors.invalid_param(invalid.reason) from invalid
        if server is None:
            return
        if server != self._identity.server_name:
            raise errors.invalid_param(f"The join is authorised by a user of {server}, not of this server")
        await self._database.read(
            lambda tx: authorising_user(tx, self._states, room, event.sender, self._identity.server_name)
        )

    async def _accept(self, origin: str, event: Event, membership: str) -> None:
        try:
            outcome, _, _ = await self._timeline.accept(event.room_id, event, relay_except={origin})
        except MissingEvents as missing:
            raise errors.invalid_param(
                f"The {membership} event refers to events that are not known here: {missing}"
            ) from missing
        refused_before = (
            outcome.verdict is Verdict.DUPLICATE and outcome.stored_as is not EventStatus.ACCEPTED
        )
        if refused_before or outcome.verdict in (Verdict.REJECTED, Verdict.SOFT_FAILED):
            reason = outcome.refusal.reason if outcome.refusal else outcome.verdict.value
            log.info("%s of %s to %s refused: %s", membership, event.sender, event.room_id, outcome.refusal)
            verb = "knock on" if membership == "knock" else membership
            raise errors.forbidden(f"{event.sender} may not {verb} {event.room_id}: {reason}")

    async def _answer(self, tx: Transaction, room: Room, event: Event) -> JoinAnswer:
        stored = await stored_events.get(tx, event.event_id)
        if stored is None or stored.state_before is None:
            raise errors.not_found(f"The state before {event.event_id} is not known")
        state = await self._states.all_events(tx, stored.state_before)
        chain = await auth_chain(tx, [event, *state.values()])
        servers = await memberships.joined_servers(tx, room.room_nid)
        return JoinAnswer(event, list(state.values()), list(chain.values()), servers)


def _member_event(origin: str, room: Room, event_id: str, pdu: Mapping[str, Any], membership: str) -> Event:
    """The event of a handshake, as far as it can be checked without the room."""
    event = offered_event(pdu, room.rules, room.room_id)
    problem = None
    if event.event_id != event_id:
        problem = f"its ID is {event.event_id}, not {event_id}"
    elif event.type != "m.room.member":
        problem = f"its type is {event.type}, not m.room.member"
    elif event.membership != membership:
        problem = f"its membership is not {membership}"
    elif event.sender_domain != origin:
        problem = f"its sender {event.sender} is not a user of {origin}"
    elif event.state_key != event.sender:
        problem = "its state_key is not its sender"
    if problem:
        raise errors.invalid_param(f"This is not a {membership} event that can be accepted: {problem}")
    return event
