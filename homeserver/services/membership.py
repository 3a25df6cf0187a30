"""What users do to be in rooms and not to be: join, knock, leave, invite, kick, ban, unban, forget.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.identifiers import is_valid_room_alias, is_valid_room_id, is_valid_user_id
from homeserver.services.guests import check_lets_in
from homeserver.services.identity import Identity
from homeserver.services.invitations import Invitations
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.membership_limits import JoinLimits
from homeserver.services.restricted_joins import authorising_user
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import memberships, out_of_room, rooms, server_notices
from homeserver.storage.database import Database, Transaction

MEMBER = "m.room.member"


class Remote(Protocol):
    """Changes memberships through the servers that are in a room."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Make the user a member of the room. Raises MatrixError that says which servers were tried and how far each got."""
        ...

    def is_joining(self, user_id: str, room_id: str) -> bool:
        """Whether such a join is under way: `join` waits for it then."""
        ...

    async def wait_for_others(self, room_id: str) -> bool:
        """Return once nobody is joining the room any more; whether somebody was."""
        ...

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Ask to be let into the room. Raises MatrixError as `join` does."""
        ...

    async def bring_invite(self, user_id: str, room_id: str) -> None:
        """Make an invite that has come to the user, but not to the room here yet, part of the room."""
        ...

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> bool:
        """Refuse an invite or take back a knock that the room's graph does not tell us of; False when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Entrance:
    """What stands before a join, and what follows it. joined: told of each user (first) who has joined a room."""

    limits: JoinLimits
    joined: Callable[[str, str], Awaitable[None]]


class Aliases(Protocol):
    """Finds the room that an alias names."""

    async def resolve(self, alias: str) -> tuple[str, list[str]]:
        """The room ID, and servers to join it by. Raises M_NOT_FOUND."""
        ...


class Membership:
    """Changes memberships on behalf of local users."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        invitations: Invitations,
        profiles: MemberProfiles,
        aliases: Aliases,
        remote: Remote,
        identity: Identity,
        entrance: Entrance,
    ) -> None:
        """Rooms that this server is not in are joined and left through `remote`; names are found by `aliases`.

        entrance: what stands before each join and follows it.
        """
        self._database = database
        self._states = states
        self._timeline = timeline
        self._invitations = invitations
        self._profiles = profiles
        self._aliases = aliases
        self._remote = remote
        self._identity = identity
        self._entrance = entrance

    async def join(
        self,
        user_id: str,
        room_id_or_alias: str,
        via: Sequence[str] = (),
        reason: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Join a room by ID or alias; returns the room ID. via: servers that may be in the room. extra: content of the client's.

        Joining a room that the user is in does nothing. Raises M_FORBIDDEN with the rule, M_NOT_FOUND, M_INVALID_PARAM,
        M_GUEST_ACCESS_FORBIDDEN, M_LIMIT_EXCEEDED.
        """
        room_id, servers = await self.room(room_id_or_alias, via)
        content = {**await self._profiles.fields(user_id), **(extra or {}), "membership": "join"}
        if reason is not None:
            content["reason"] = reason
        if await self._database.read(lambda tx: self._is_invited_to_ours(tx, room_id, user_id)):
            await self._remote.bring_invite(user_id, room_id)
        local = await self._database.read(lambda tx: self._local_join(tx, room_id, user_id, content))
        if local is None and await self._has_waited_for_others(user_id, room_id):
            # Now the room may be here, and need not be fetched a second time.
            local = await self._database.read(lambda tx: self._local_join(tx, room_id, user_id, content))
        if local is None:
            if not self._remote.is_joining(user_id, room_id):
                self._entrance.limits.fetching(user_id)
                self._entrance.limits.check_room(room_id)
            await self._remote.join(user_id, room_id, servers, content)
            await self._check_guest(user_id, room_id)
        elif local:
            self._entrance.limits.check_room(room_id)
            await self._timeline.send(room_id, Draft(user_id, MEMBER, local, user_id))
        if local != {}:
            await self._entrance.joined(user_id, room_id)
        return room_id

    async def _has_waited_for_others(self, user_id: str, room_id: str) -> bool:
        """Wait for the joins of others to a room that has to be fetched; a join of the user's own is not waited for here."""
        is_joining = self._remote.is_joining(user_id, room_id)
        return not is_joining and await self._remote.wait_for_others(room_id)

    async def _local_join(
        self, tx: Transaction, room_id: str, user_id: str, content: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The content of a join event of our own; empty when the user is joined, None when other servers have to be asked."""
        room = await rooms.get(tx, room_id)
        if room is None:
            return None
        membership = await memberships.get(tx, room.room_nid, user_id)
        if membership is not None and membership.membership == "join":
            return {}
        if not await memberships.is_server_joined(tx, room.room_nid, self._identity.server_name):
            return None
        await check_lets_in(tx, self._states, room, user_id)
        if await self._is_invited_to_ours(tx, room_id, user_id):
            return None  # the invite has not reached the room here: the inviter's server lets the user in
        try:
            authoriser = await authorising_user(tx, self._states, room, user_id, self._identity.server_name)
        except MatrixError as refused:
            # Another server in the room may know the room that the condition names, or have a user who may invite.
            others = [
                server
                for server in await memberships.joined_servers(tx, room.room_nid)
                if server != self._identity.server_name
            ]
            if refused.errcode.startswith("M_UNABLE_TO_") and others:
                return None
            raise
        return {**content, "join_authorised_via_users_server": authoriser} if authoriser else content

    async def _check_guest(self, user_id: str, room_id: str) -> None:
        """Have a guest leave again who has joined a room of others that lets no guests in: only now that can be told.

        Raises M_GUEST_ACCESS_FORBIDDEN.
        """

        async def work(tx: Transaction) -> None:
            room = await rooms.get(tx, room_id)
            if room is not None:
                await check_lets_in(tx, self._states, room, user_id)

        try:
            await self._database.read(work)
        except MatrixError:
            await self._send(room_id, user_id, user_id, "leave", None)
            raise

    async def knock(
        self, user_id: str, room_id_or_alias: str, via: Sequence[str] = (), reason: str | None = None
    ) -> str:
        """Ask to be let into a room; returns the room ID. Raises M_FORBIDDEN when it takes no knocks, or not the user's.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms
        """
        room_id, servers = await self.room(room_id_or_alias, via)
        content: dict[str, Any] = {**await self._profiles.fields(user_id), "membership": "knock"}
        if reason is not None:
            content["reason"] = reason
        if await self._database.read(lambda tx: self._is_here(tx, room_id)):
            await self._timeline.send(room_id, Draft(user_id, MEMBER, content, user_id))
        else:
            await self._remote.knock(user_id, room_id, servers, content)
        return room_id

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        """Leave a room, or reject its invite, or take a knock back. Whoever has left already has nothing to do.

        Raises M_FORBIDDEN, and M_CANNOT_LEAVE_SERVER_NOTICE_ROOM for the invite to the user's server notices room.
        """
        await self._database.read(lambda tx: self._check_may_leave(tx, room_id, user_id))
        await self.withdraw(user_id, room_id, reason)

    async def _check_may_leave(self, tx: Transaction, room_id: str, user_id: str) -> None:
        """ "Attempting to reject the invite must result in a `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM` error. Servers should not prevent
        the user leaving the room after joining".

        Spec: https://spec.matrix.org/v1.19/client-server-api/#server-notices
        """
        if await server_notices.room_of(tx, user_id) != room_id:
            return
        room = await rooms.get(tx, room_id)
        membership = await memberships.get(tx, room.room_nid, user_id) if room else None
        if membership is not None and membership.membership == "invite":
            raise MatrixError(
                "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM",
                "You cannot reject this invite: join the room to leave it",
                403,
            )

    async def withdraw(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        """Leave a room, whatever it is for: as `leave` does, for a user who goes for good."""
        if await self._database.read(lambda tx: self._is_invited_to_ours(tx, room_id, user_id)):
            # Refused through the inviter's server, the room here would go on showing the invite: nobody tells us what we did.
            await self._remote.bring_invite(user_id, room_id)
        if await self._remote.leave(user_id, room_id, reason):
            return
        current = await self._current(room_id, user_id)
        if current == "leave":
            return
        if current is None:
            if await self._database.read(lambda tx: out_of_room.get(tx, user_id, room_id)):
                return  # an invite from outside that is over
            raise errors.forbidden(f"{user_id} is not in the room {room_id}")
        await self._send(room_id, user_id, user_id, "leave", reason)

    async def invite(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Invite a user. Raises M_FORBIDDEN, also when the user is in the room or banned from it."""
        await self._invitations.invite(room_id, sender, user_id, {"reason": reason} if reason else {})

    async def kick(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Remove a user who is in the room, invited to it or knocks on it. Raises M_FORBIDDEN for anybody else."""
        current = await self._current(room_id, _user(user_id))
        if current not in ("join", "invite", "knock"):
            raise errors.forbidden(f"{user_id} is not in the room, so there is nobody to remove")
        await self._send(room_id, sender, user_id, "leave", reason)

    async def ban(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Ban a user."""
        await self._send(room_id, sender, _user(user_id), "ban", reason)

    async def unban(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        """Lift a ban. Raises M_FORBIDDEN for a user who is not banned."""
        current = await self._current(room_id, _user(user_id))
        if current != "ban":
            if await self._current(room_id, sender) != "join":
                raise errors.forbidden(f"You are not in the room {room_id}, or it does not exist")
            # "such as attempting to unban a user who is not banned"
            raise MatrixError("M_BAD_STATE", f"{user_id} is not banned from the room", 403)
        await self._send(room_id, sender, user_id, "leave", reason)

    async def set_state(self, sender: str, room_id: str, user_id: str, content: Mapping[str, Any]) -> str:
        """Set m.room.member to what a client says; returns the event ID. The room's rules decide on it.

        A join of one's own is one by `join`, an invite one by `invite`: the user's profile, the user who authorises a restricted
        join, the signature of the invited user's server come with it.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        _user(user_id)
        membership = content.get("membership")
        if not isinstance(membership, str):
            raise errors.bad_json("m.room.member needs a membership - at `$.membership`")
        # Who vouches for a restricted join is found by us: a client could name somebody who does not.
        not_theirs = ("membership", "join_authorised_via_users_server")
        extra = {key: value for key, value in content.items() if key not in not_theirs}
        if membership == "invite":
            return await self._invitations.invite(room_id, sender, user_id, extra)
        if membership == "join" and sender == user_id and await self._current(room_id, sender) != "join":
            await self.join(sender, room_id, extra=extra)
            return await self._member_event(room_id, user_id)
        if membership == "leave" and sender == user_id:
            await self._database.read(lambda tx: self._check_may_leave(tx, room_id, user_id))
        whole = {**extra, "membership": membership}
        return await self._timeline.send(room_id, Draft(sender, MEMBER, whole, user_id))

    async def forget(self, user_id: str, room_id: str) -> None:
        """Forget a room that the user has left. Raises M_UNKNOWN while the user is in it, M_NOT_FOUND when it is unknown."""

        async def work(tx: Transaction) -> None:
            room = await rooms.get(tx, room_id)
            membership = await memberships.get(tx, room.room_nid, user_id) if room else None
            outside = await out_of_room.get(tx, user_id, room_id)
            current = outside or membership
            if current is None:
                raise errors.not_found(f"{user_id} has never been in the room {room_id}")
            if current.membership not in ("leave", "ban"):
                raise errors.unknown(f"Leave the room {room_id} before forgetting it", 400)
            if outside is not None:
                await out_of_room.set_forgotten(tx, user_id, room_id)
            if room is not None and membership is not None:
                await memberships.set_forgotten(tx, room.room_nid, user_id)

        await self._database.write(work)

    async def room(self, room_id_or_alias: str, via: Sequence[str]) -> tuple[str, list[str]]:
        """The ID of a room, and the other servers to reach it by. Raises M_NOT_FOUND, M_INVALID_PARAM."""
        room_id, servers = room_id_or_alias, list(via)
        if is_valid_room_alias(room_id_or_alias):
            room_id, found = await self._aliases.resolve(room_id_or_alias)
            servers += found
        elif not is_valid_room_id(room_id_or_alias):
            raise errors.invalid_param(f"{room_id_or_alias[:300]!r} is neither a room ID nor an alias")
        return room_id, [server for server in dict.fromkeys(servers) if server != self._identity.server_name]

    async def joined_rooms(self, user_id: str) -> list[str]:
        """The IDs of the rooms that the user is joined to."""
        mine = await self._database.read(lambda tx: memberships.of_user(tx, user_id, ("join",)))
        return [membership.room_id for membership in mine]

    async def _is_invited_to_ours(self, tx: Transaction, room_id: str, user_id: str) -> bool:
        """Whether the user holds an invite to a room that we are in, of which that room does not know here."""
        outside = await out_of_room.get(tx, user_id, room_id)
        return outside is not None and outside.membership == "invite" and await self._is_here(tx, room_id)

    async def _is_here(self, tx: Transaction, room_id: str) -> bool:
        """Whether a user of ours is in the room."""
        room = await rooms.get(tx, room_id)
        return room is not None and await memberships.is_server_joined(
            tx, room.room_nid, self._identity.server_name
        )

    async def _current(self, room_id: str, user_id: str) -> str | None:
        async def work(tx: Transaction) -> str | None:
            room = await rooms.get(tx, room_id)
            membership = await memberships.get(tx, room.room_nid, user_id) if room else None
            return membership.membership if membership else None

        return await self._database.read(work)

    async def _member_event(self, room_id: str, user_id: str) -> str:
        async def work(tx: Transaction) -> str:
            room = await rooms.get(tx, room_id)
            membership = await memberships.get(tx, room.room_nid, user_id) if room else None
            if membership is None:
                raise errors.not_found(f"{user_id} has left the room {room_id} again")
            return membership.event_id

        return await self._database.read(work)

    async def _send(
        self, room_id: str, sender: str, target: str, membership: str, reason: str | None
    ) -> None:
        content: dict[str, Any] = {"membership": membership}
        if reason is not None:
            content["reason"] = reason
        await self._timeline.send(room_id, Draft(sender, MEMBER, content, target))


def _user(user_id: str) -> str:
    if not is_valid_user_id(user_id):
        raise errors.invalid_param(f"{user_id[:300]!r} is not a user ID")
    return user_id
