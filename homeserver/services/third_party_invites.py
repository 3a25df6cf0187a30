"""Invites by third-party identifier, from when an identity server has found out whose the identifier is.

Spec: https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.identifiers import domain_of, is_valid_room_id, is_valid_user_id
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.invites import exchange_third_party_invite
from homeserver.federation.transport import FederationClient
from homeserver.services.identity import Identity
from homeserver.services.invitations import Invitations
from homeserver.services.peer_access import known_room
from homeserver.services.room_state import RoomStates
from homeserver.storage import accounts, memberships, rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)

MAX_INVITES = 20
"""How many invites may wait for one third-party identifier."""


@dataclass(frozen=True, slots=True)
class PendingInvite:
    """An invite that waited. signed: what the identity server has signed, with `mxid`, `token` and `signatures`.

    It is passed on as it is: the signature covers whatever else it says.
    """

    mxid: str
    room_id: str
    sender: str
    signed: Mapping[str, Any]


class ThirdPartyInvites:
    """Turns third-party invites into invites."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        invitations: Invitations,
        identity: Identity,
        client: FederationClient,
    ) -> None:
        """Invites of our users go through `invitations`, those of others are asked for through `client`."""
        self._database = database
        self._states = states
        self._invitations = invitations
        self._identity = identity
        self._client = client

    async def exchange(self, origin: str, room_id: str, partial: Mapping[str, Any]) -> None:
        """Invite a user of `origin` whose third-party identifier one of our users has invited.

        The auth rules check the identity server's signature. Raises MatrixError: M_INVALID_PARAM for what is not such an invite,
        M_FORBIDDEN, M_NOT_FOUND.
        """
        content = partial.get("content")
        invite = content.get("third_party_invite") if isinstance(content, Mapping) else None
        signed = invite.get("signed") if isinstance(invite, Mapping) else None
        sender, user_id = partial.get("sender"), partial.get("state_key")
        problem = None
        if partial.get("type") != "m.room.member":
            problem = "its type is not m.room.member"
        elif partial.get("room_id") != room_id:
            problem = f"its room_id is not {room_id}"
        elif not isinstance(content, Mapping) or content.get("membership") != "invite":
            problem = "its membership is not invite"
        elif not isinstance(signed, Mapping):
            problem = "it has no third_party_invite.signed"
        elif not is_valid_user_id(user_id) or domain_of(str(user_id)) != origin:
            problem = f"its state_key is not a user of {origin}"
        elif not is_valid_user_id(sender) or not self._identity.is_ours(str(sender)):
            problem = "its sender is not a user of this server, which alone could sign it"
        if problem or not isinstance(signed, Mapping):
            raise errors.invalid_param(f"This is not an invite that can be exchanged: {problem}")
        await self._database.read(lambda tx: self._check_room(tx, origin, room_id))
        await self._invite(room_id, str(sender), str(user_id), signed)

    async def bound(self, user_id: str, invites: Sequence[PendingInvite]) -> None:
        """A user of ours has bound a third-party identifier: ask for the invites that waited for it.

        What becomes of each is logged; who tells us of them can do nothing about it. Raises M_INVALID_PARAM for a user that is not
        ours, and for too many invites.
        """
        if len(invites) > MAX_INVITES:
            raise errors.invalid_param(f"At most {MAX_INVITES} invites are taken at once")
        account = None
        if is_valid_user_id(user_id):
            account = await self._database.read(lambda tx: accounts.get(tx, user_id))
        if account is None or account.is_deactivated:
            raise errors.invalid_param("The mxid is not that of a user of this server")
        await asyncio.gather(*(self._ask_for(user_id, invite) for invite in invites))

    async def redeem(self, user_id: str, room_id: str, signed: Mapping[str, Any]) -> None:
        """Have a user of ours invited to a room, with the proof that a third-party invite to it is the user's.

        signed: with `sender`, who made the third-party invite. Raises MatrixError: M_INVALID_PARAM, M_FORBIDDEN,
        M_THREEPID_NOT_FOUND when the room has no such invite.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
        """
        sender = signed.get("sender")
        if signed.get("mxid") != user_id or not is_valid_user_id(sender):
            raise errors.invalid_param("third_party_signed is not for this user, or names no sender")
        if self._identity.is_ours(str(sender)):
            await self._invite(room_id, str(sender), user_id, signed)
            return
        try:
            await self._ask_their_server(user_id, PendingInvite(user_id, room_id, str(sender), signed))
        except FederationError as failure:
            told = f"{failure.destination} does not turn the third-party invite into one: {failure.reason}"
            if failure.errcode and failure.status in (400, 403, 404):
                raise MatrixError(failure.errcode, told, failure.status) from failure
            raise errors.unknown(told, 502) from failure

    async def _ask_for(self, user_id: str, invite: PendingInvite) -> None:
        if invite.mxid != user_id or not is_valid_room_id(invite.room_id):
            log.info("a third-party invite for %s is not for that user, or to no room", user_id)
            return
        if not is_valid_user_id(invite.sender):
            log.info("a third-party invite for %s has no valid sender", user_id)
            return
        try:
            if self._identity.is_ours(invite.sender):
                await self._invite(invite.room_id, invite.sender, user_id, invite.signed)
            else:
                await self._ask_their_server(user_id, invite)
        except (FederationError, MatrixError) as error:
            log.warning("the third-party invite of %s to %s failed: %s", user_id, invite.room_id, error)

    async def _ask_their_server(self, user_id: str, invite: PendingInvite) -> None:
        """ "it will need to request the inviting homeserver to auth the event" """
        partial = {
            "type": "m.room.member",
            "room_id": invite.room_id,
            "sender": invite.sender,
            "state_key": user_id,
            "content": {
                "membership": "invite",
                "third_party_invite": {"display_name": user_id, "signed": dict(invite.signed)},
            },
        }
        server = domain_of(invite.sender)
        await exchange_third_party_invite(self._client, server, invite.room_id, partial)

    async def _check_room(self, tx: Transaction, origin: str, room_id: str) -> None:
        room = await known_room(tx, self._states, room_id, origin)
        if not await memberships.is_server_joined(tx, room.room_nid, self._identity.server_name):
            raise errors.not_found(f"This server is not in the room {room_id}")

    async def _invite(self, room_id: str, sender: str, user_id: str, signed: Mapping[str, Any]) -> None:
        """The invite, with the name that the third-party invite gave to who is invited."""
        token = signed.get("token")
        offer = await self._database.read(lambda tx: self._offer(tx, room_id, token))
        invite: dict[str, Any] = {"display_name": offer, "signed": dict(signed)}
        await self._invitations.invite(room_id, sender, user_id, {"third_party_invite": invite})

    async def _offer(self, tx: Transaction, room_id: str, token: Any) -> str:
        room = await rooms.get(tx, room_id)
        event = None
        if room is not None and isinstance(token, str):
            event = await self._states.event(tx, room.current_state, "m.room.third_party_invite", token)
        name = event.content.get("display_name") if event else None
        if not isinstance(name, str):
            raise MatrixError(
                "M_THREEPID_NOT_FOUND", f"The room {room_id} has no third-party invite with this token", 403
            )
        return name
