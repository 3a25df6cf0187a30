"""Inviting users: ours with an event of our own, those of other servers with their server's signature on it.

Spec: https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.events import Event
from homeserver.core.identifiers import domain_of, is_valid_user_id
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.invites import invite
from homeserver.federation.transport import FederationClient
from homeserver.services.handshakes import explained
from homeserver.services.identity import Identity
from homeserver.services.ignored_users import check_takes_invites
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.membership_limits import InviteLimits
from homeserver.services.received_events import EventSignatures
from homeserver.services.room_graph import Verdict
from homeserver.services.room_state import RoomStates
from homeserver.services.stripped_state import stripped_state
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import rooms
from homeserver.storage.database import Database, Transaction

log = logging.getLogger(__name__)


class Invitations:
    """Invites users to rooms."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        profiles: MemberProfiles,
        identity: Identity,
        client: FederationClient,
        signatures: EventSignatures,
        limits: InviteLimits,
    ) -> None:
        """Other servers are asked through `client`, and what they sign is checked by `signatures`."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._profiles = profiles
        self._identity = identity
        self._client = client
        self._signatures = signatures
        self._limits = limits

    async def invite(
        self, room_id: str, sender: str, user_id: str, content: Mapping[str, Any], *, counted: bool = False
    ) -> str:
        """Invite a user; returns the event ID. content: what the invite says besides (`reason`, `is_direct`).

        counted: by `counted_with_creation`. Raises MatrixError: M_FORBIDDEN with the rule that refuses it; M_INVITE_BLOCKED;
        M_LIMIT_EXCEEDED; what the user's server answers when it refuses.
        """
        if not is_valid_user_id(user_id):
            raise errors.invalid_param(f"{user_id[:300]!r} is not a user ID")
        if not counted:
            self._limits.invited(room_id, user_id, sender)
        local = domain_of(user_id) == self._identity.server_name
        profile = await self._profiles.fields(user_id) if local else {}
        whole = {**content, **profile, "membership": "invite"}
        draft = Draft(sender, "m.room.member", whole, user_id)
        if local:
            await self._database.read(lambda tx: check_takes_invites(tx, [user_id]))
            return await self._timeline.send(room_id, draft)
        event = await self._timeline.prepare(room_id, draft)
        signed = await self._signed_by_their_server(event, domain_of(user_id))
        outcome, _, _ = await self._timeline.accept(room_id, signed, relay_except=())
        if outcome.verdict is not Verdict.ACCEPTED:
            raise errors.forbidden(outcome.refusal.reason if outcome.refusal else outcome.verdict.value)
        return event.event_id

    def counted_with_creation(self, issuer: str, user_ids: Collection[str]) -> None:
        """Count the invites that come with a new room, before it is made. Raises M_LIMIT_EXCEEDED."""
        self._limits.invited_with_creation(issuer, len(user_ids))

    async def check_take_invites(self, user_ids: Sequence[str]) -> None:
        """Raises M_INVITE_BLOCKED when one of the users is ours and wants no invites."""
        ours = [user_id for user_id in user_ids if self._identity.is_ours(user_id)]
        await self._database.read(lambda tx: check_takes_invites(tx, ours))

    async def _signed_by_their_server(self, event: Event, server: str) -> Event:
        """The event with the signature of the invited user's server, which so agrees to the invite."""
        room_state = await self._database.read(lambda tx: self._stripped(tx, event))
        try:
            signed = await invite(self._client, server, event, room_state)
        except FederationError as failure:
            log.warning(
                "%s was not invited to %s: %s (%s)",
                event.state_key,
                event.room_id,
                failure,
                explained(failure),
            )
            raise _for_client(failure) from failure
        # What comes back is ours but for the signature; anything else is not what was agreed to.
        signatures = {**event.signatures, server: signed.signatures.get(server, {})}
        whole = event.with_signatures(signatures)
        problem = (await self._signatures.verify_events([whole]))[whole.event_id]
        if problem is None and not signatures[server]:
            problem = "its signature is missing"
        if problem is not None:
            raise errors.unknown(f"{server} answered the invite wrongly: {problem}", 502)
        return whole

    async def _stripped(self, tx: Transaction, event: Event) -> Sequence[Mapping[str, Any]]:
        """What the invited user's server is told of the room: from version 1.16 on whole events of the room's state.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#stripped-state
        """
        room = await rooms.get(tx, event.room_id)
        if room is None:
            raise errors.not_found(f"There is no room {event.room_id}")
        told = await stripped_state(tx, self._states, room.current_state)
        inviter = await self._states.event(tx, room.current_state, "m.room.member", event.sender)
        return [each.pdu for each in [*told, *([inviter] if inviter else [])]]


def _for_client(failure: FederationError) -> MatrixError:
    """The client's error for an invite that the user's server did not sign."""
    refusal = f"{failure.destination} refuses the invite: {failure.reason}"
    if failure.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        # "One or more users being invited to the room are residents of a homeserver which does not support the requested
        # room version."
        return errors.unsupported_room_version(refusal)
    # Other codes and statuses speak of our request to that server, and would say something else to our client: that it is
    # logged out, for one.
    if failure.errcode == "M_INVITE_BLOCKED":
        return MatrixError("M_INVITE_BLOCKED", refusal, 403)
    if failure.errcode and failure.status == 403:
        return errors.forbidden(refusal)
    if failure.errcode and failure.status == 404:
        return errors.not_found(refusal)
    # "the Client-Server API request SHOULD fail with a 5xx error": what is wrong is ours, not the client's.
    is_our_mistake = failure.errcode in ("M_MISSING_PARAM", "M_INVALID_PARAM")
    if failure.errcode and failure.status == 400 and not is_our_mistake:
        return errors.unknown(refusal, 400)
    told = f"{failure.destination} could not be asked to invite its user: {failure.reason} ({explained(failure)})"
    return MatrixError("M_UNKNOWN", told, 502)
