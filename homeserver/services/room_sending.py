"""What clients send into rooms: messages, state and redactions.

The room's rules decide in the end; here stands what the specification asks of a client's request beyond them.
Spec: https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.errors import bad_json, forbidden, invalid_param, not_found, unknown, user_suspended
from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_event_id
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.core.requester import Requester
from homeserver.core.server_acl import server_acl_refusal
from homeserver.core.visibility import JOIN_RULES
from homeserver.services.directory import CANONICAL_ALIAS, Directory
from homeserver.services.identity import Identity
from homeserver.services.membership import Membership
from homeserver.services.relation_rules import check_relation
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import ClientTransaction, Draft, Timeline
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

MAX_TRANSACTION_ID_BYTES = 255
MESSAGE = "m.room.message"
REDACTION = "m.room.redaction"
SERVER_ACL = "m.room.server_acl"
CALL_INVITE = "m.call.invite"


class RoomSending:
    """Sends events for clients."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        membership: Membership,
        directory: Directory,
        identity: Identity,
    ) -> None:
        """Member events go through `membership`; the aliases that rooms name are checked with `directory`."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._membership = membership
        self._directory = directory
        self._identity = identity

    async def message(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        transaction_id: str,
        content: Mapping[str, Any],
    ) -> str:
        """Send an event that is not state; returns its ID. The same transaction again returns the same ID.

        Raises MatrixError: M_FORBIDDEN with the rule, M_TOO_LARGE, M_BAD_JSON, M_INVALID_PARAM, M_DUPLICATE_ANNOTATION, and
        M_UNKNOWN for a thread that starts from an event in a thread.
        """
        transaction = client_transaction(requester, f"send/{room_id}/{event_type}", transaction_id)
        if requester.is_suspended and event_type != REDACTION:
            raise user_suspended()
        if event_type == REDACTION:
            target = content.get("redacts")
            if not is_valid_event_id(target):
                raise bad_json("A redaction names the event to redact - at `$.redacts`")
            rest = {key: value for key, value in content.items() if key != "redacts"}
            return await self._redact(requester, room_id, str(target), rest, transaction)
        if event_type == MESSAGE:
            _check_message(content)
        draft = Draft(requester.user_id, event_type, content)

        async def check(tx: Transaction, room: Room) -> None:
            if event_type == CALL_INVITE:
                await self._check_may_be_called(tx, room)
            await check_relation(tx, room.room_nid, draft.sender, draft.type, draft.content)

        return await self._timeline.send(room_id, draft, transaction=transaction, check=check)

    async def state(
        self, requester: Requester, room_id: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str:
        """Set state; returns the ID of the event, which is the present one when that says the same already.

        Raises MatrixError as `message` does, M_BAD_ALIAS, and M_UNKNOWN for a server ACL that keeps this server out.
        """
        user_id = requester.user_id
        if event_type == CREATE[0]:
            raise forbidden("A room is created once, by createRoom")
        if event_type == "m.room.member":
            return await self._membership.set_state(user_id, room_id, state_key, content)
        if event_type == CANONICAL_ALIAS and state_key == "":
            await self._check_canonical_alias(user_id, room_id, content)
        if event_type == SERVER_ACL and state_key == "":
            self._check_server_acl(content)
        return await self._timeline.send(room_id, Draft(user_id, event_type, content, state_key))

    async def redaction(
        self, requester: Requester, room_id: str, event_id: str, transaction_id: str, reason: str | None
    ) -> str:
        """Redact an event; returns the ID of the redaction.

        Raises MatrixError as `message` does, and M_NOT_FOUND for an event that is not in the room.
        """
        transaction = client_transaction(requester, f"redact/{room_id}/{event_id}", transaction_id)
        content = {} if reason is None else {"reason": reason}
        return await self._redact(requester, room_id, event_id, content, transaction)

    async def is_of_another(self, requester: Requester, event_id: str) -> bool:
        """Whether an event that we have was sent by somebody else."""
        if not is_valid_event_id(event_id):
            return False
        stored = await self._database.read(lambda tx: stored_events.get(tx, event_id))
        return stored is not None and stored.event.sender != requester.user_id

    async def _redact(
        self,
        requester: Requester,
        room_id: str,
        event_id: str,
        content: Mapping[str, Any],
        transaction: ClientTransaction,
    ) -> str:
        async def check(tx: Transaction, room: Room) -> None:
            await self._check_may_redact(tx, requester, room, event_id)

        draft = Draft(requester.user_id, REDACTION, content, redacts=event_id)
        return await self._timeline.send(room_id, draft, transaction=transaction, check=check)

    async def _check_may_redact(
        self, tx: Transaction, requester: Requester, room: Room, event_id: str
    ) -> None:
        """ "[...] redactions for their own events [...] If the user's power level is also greater than or equal to the
        `redact` power level of the room, the user may redact events sent by other users."

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
        """
        mine = await memberships.get(tx, room.room_nid, requester.user_id)
        if mine is None or mine.membership != "join":
            raise forbidden(f"You are not in the room {room.room_id}, or it does not exist")
        target = await stored_events.get(tx, event_id) if is_valid_event_id(event_id) else None
        if target is None or target.room_nid != room.room_nid:
            raise not_found(f"There is no event {event_id[:300]} in this room")
        if target.event.type == "m.room.create":
            raise forbidden("The event that created the room cannot be redacted")
        if target.event.sender == requester.user_id:
            return
        if requester.is_suspended:
            raise user_suspended()
        # "Server administrators may redact events sent by users on their server."
        if requester.is_admin and self._identity.is_ours(target.event.sender):
            return
        state = await self._states.events(tx, room.current_state, [CREATE, POWER_LEVELS])
        levels = power_levels_of(state)
        if not levels.can_redact_others(requester.user_id):
            raise forbidden(f"Redacting what others sent needs power level {levels.redact} in this room")

    async def _check_may_be_called(self, tx: Transaction, room: Room) -> None:
        """A call rings for everyone in the room. The specification recommends that clients ignore those in public rooms; Synapse
        refuses them, which keeps the caller from waiting, and the caller's addresses from the public.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#invitees
        """
        rules = await self._states.event(tx, room.current_state, *JOIN_RULES)
        if rules is not None and rules.content.get("join_rule") == "public":
            raise forbidden("Call invites are not allowed in public rooms.")

    def _check_server_acl(self, content: Mapping[str, Any]) -> None:
        """Keeps moderators from shutting out their own server: nobody there could undo it, or ever take part again."""
        refusal = server_acl_refusal(content, self._identity.server_name)
        if refusal:
            raise unknown(
                f"This would keep your own server, {self._identity.server_name}, out of the room", 400
            )

    async def _check_canonical_alias(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Leaves those to the room's rules who may not set it: nobody is asked on their behalf."""

        async def work(tx: Transaction) -> tuple[bool, Event | None]:
            room = await rooms.get(tx, room_id)
            mine = await memberships.get(tx, room.room_nid, user_id) if room else None
            if room is None or mine is None or mine.membership != "join":
                return False, None
            keys = [CREATE, POWER_LEVELS, (CANONICAL_ALIAS, "")]
            state = await self._states.events(tx, room.current_state, keys)
            may = power_levels_of(state).can_send(user_id, CANONICAL_ALIAS, is_state=True)
            return may, state.get((CANONICAL_ALIAS, ""))

        may_set, current = await self._database.read(work)
        if may_set:
            await self._directory.check_canonical(room_id, content, current.content if current else {})


def _check_message(content: Mapping[str, Any]) -> None:
    """ "Homeservers SHOULD reject `m.room.message` events which don't have a `msgtype` key, or which don't have a textual `body`".

    Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour
    """
    for key in ("msgtype", "body"):
        if not isinstance(content.get(key), str):
            raise bad_json(f"A message has a text as its {key} - at `$.{key}`")


def client_transaction(requester: Requester, endpoint: str, transaction_id: str) -> ClientTransaction:
    """The scope of a transaction ID is a device and an endpoint.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
    """
    if not transaction_id or len(transaction_id.encode()) > MAX_TRANSACTION_ID_BYTES:
        raise invalid_param(f"A transaction ID has 1 to {MAX_TRANSACTION_ID_BYTES} bytes")
    return ClientTransaction(requester.user_id, requester.transaction_scope, endpoint, transaction_id)
