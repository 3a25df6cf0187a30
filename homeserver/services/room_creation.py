"""createRoom: from what a client asks for to the first events of the room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#creation
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from homeserver.core import errors
from homeserver.core.errors import MatrixError
from homeserver.core.identifiers import is_valid_room_alias, is_valid_user_id
from homeserver.core.power_levels import ABOVE_ADMINISTRATORS
from homeserver.core.room_versions import RoomRules, UnknownRoomVersion, rules_for
from homeserver.services.clock import Clock
from homeserver.services.directory import CANONICAL_ALIAS, aliases_in
from homeserver.services.identity import Identity
from homeserver.services.invitations import Invitations
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import aliases, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

Preset = Literal["private_chat", "public_chat", "trusted_private_chat"]

MAX_INVITES = 100
MAX_INITIAL_STATE = 500

# | Preset | `join_rules` | `history_visibility` | `guest_access` |
PRESETS: Mapping[str, tuple[str, str, str]] = {
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}

# What an administrator of the room alone may change; and what a moderator may.
STATE_LEVELS: Mapping[str, int] = {
    "m.room.name": 50,
    "m.room.avatar": 50,
    "m.room.canonical_alias": 50,
    "m.room.power_levels": 100,
    "m.room.history_visibility": 100,
    "m.room.tombstone": 100,
    "m.room.server_acl": 100,
    "m.room.encryption": 100,
}


@dataclass(frozen=True, slots=True)
class InitialState:
    """A state event that the client wants in the new room."""

    type: str
    content: Mapping[str, Any]
    state_key: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """(type, state_key)"""
        return (self.type, self.state_key)


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What a client asks of createRoom; the fields are those of its request body.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
    """

    visibility: Literal["public", "private"] = "private"
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: tuple[str, ...] = ()
    room_version: str | None = None
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: tuple[InitialState, ...] = ()
    preset: Preset | None = None
    is_direct: bool = False
    power_level_content_override: Mapping[str, Any] = field(default_factory=dict)

    @property
    def effective_preset(self) -> Preset:
        """ "A visibility of `public` equates to a preset of `public_chat` and `private` [...] to `private_chat`." """
        return self.preset or ("public_chat" if self.visibility == "public" else "private_chat")


class RoomCreation:
    """Creates rooms."""

    def __init__(
        self,
        timeline: Timeline,
        invitations: Invitations,
        profiles: MemberProfiles,
        identity: Identity,
        clock: Clock,
        default_version: str,
    ) -> None:
        """`default_version`: the room version when the client names none."""
        self._timeline = timeline
        self._invitations = invitations
        self._profiles = profiles
        self._identity = identity
        self._clock = clock
        self._default_version = default_version

    async def create(self, creator: str, wanted: NewRoom) -> str:
        """Create a room; returns its ID.

        All events but the invites are stored at once or not at all. Raises MatrixError: M_UNSUPPORTED_ROOM_VERSION,
        M_ROOM_IN_USE, M_INVALID_ROOM_STATE, M_INVALID_PARAM, M_BAD_JSON, M_BAD_ALIAS, M_INVITE_BLOCKED when a user of ours wants
        no invites, M_LIMIT_EXCEEDED for too many of them; and when the room is there and the others are invited, what an invited
        user's server answers when it refuses the invite (M_FORBIDDEN, M_INVITE_BLOCKED, M_UNSUPPORTED_ROOM_VERSION). A server that
        cannot be asked is no reason to be left without the room: the user can be invited again.
        """
        rules = self._rules(wanted.room_version if wanted.room_version is not None else self._default_version)
        _check(wanted, creator)
        alias = self._alias(wanted)
        _check_canonical(wanted, alias)
        invited = [user_id for user_id in dict.fromkeys(wanted.invite) if user_id != creator]
        await self._invitations.check_take_invites(invited)
        self._invitations.counted_with_creation(creator, invited)
        try:
            room_id = await self._timeline.create_room(
                rules.version,
                creator,
                _create_content(rules, wanted),
                await self._drafts(rules, creator, wanted, alias),
                beside=lambda tx, room: self._publish(tx, room, creator, wanted, alias),
            )
        except MatrixError as refused:
            if refused.errcode != "M_FORBIDDEN":
                raise
            raise errors.invalid_room_state(f"The room cannot be created so: {refused.message}") from refused
        content = {"is_direct": True} if wanted.is_direct else {}
        refusals = [await self._invite(room_id, creator, user_id, content) for user_id in invited]
        for refusal in refusals:
            if refusal is not None:
                raise refusal
        return room_id

    async def _invite(
        self, room_id: str, creator: str, user_id: str, content: Mapping[str, Any]
    ) -> MatrixError | None:
        """Invite a user to the new room; the refusal, if there is one that the client is told."""
        try:
            await self._invitations.invite(room_id, creator, user_id, content, counted=True)
        except MatrixError as error:
            log.warning("%s was not invited to the new room %s: %s", user_id, room_id, error.message)
            return error if error.status < 500 else None
        return None

    def _rules(self, version: str) -> RoomRules:
        try:
            return rules_for(version)
        except UnknownRoomVersion as unknown:
            raise errors.unsupported_room_version(
                f"This server does not know room version {version!r}"
            ) from unknown

    def _alias(self, wanted: NewRoom) -> str | None:
        if wanted.room_alias_name is None:
            return None
        alias = f"#{wanted.room_alias_name}:{self._identity.server_name}"
        if ":" in wanted.room_alias_name or not wanted.room_alias_name or not is_valid_room_alias(alias):
            raise errors.invalid_param("room_alias_name is only the part between # and : of a valid alias")
        return alias

    async def _drafts(
        self, rules: RoomRules, creator: str, wanted: NewRoom, alias: str | None
    ) -> list[Draft]:
        """The events after m.room.create, in the specification's order."""
        own = {"membership": "join", **await self._profiles.fields(creator)}
        first: list[InitialState] = [
            InitialState("m.room.member", own, creator),
            InitialState("m.room.power_levels", _power_levels(rules, creator, wanted)),
        ]
        if alias is not None:
            first.append(InitialState("m.room.canonical_alias", {"alias": alias}))
        # initial_state "[takes] precedence over events set by `preset`, but gets overridden by `name` and `topic` keys."
        last = _named(wanted)
        initial = [event for event in wanted.initial_state if event.key not in {each.key for each in last}]
        given = {event.key for event in initial}
        presets = [event for event in _presets(wanted) if event.key not in given]
        return [
            Draft(creator, event.type, event.content, event.state_key)
            for event in (*first, *presets, *initial, *last)
        ]

    async def _publish(
        self, tx: Transaction, room: Room, creator: str, wanted: NewRoom, alias: str | None
    ) -> None:
        if alias is not None and not await aliases.add(
            tx, aliases.Alias(alias, room.room_id, creator), self._clock()
        ):
            raise errors.room_in_use(f"The alias {alias} is taken")
        if wanted.visibility == "public":
            await rooms.set_published(tx, room.room_nid, True)


def refuse_third_party_invites(invites: Sequence[Mapping[str, Any]]) -> None:
    """Raise M_THREEPID_DENIED when somebody is to be invited by e-mail address or telephone number.

    This server asks no identity server whose they are, so nobody could be reached.
    Spec: https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
    """
    if invites:
        raise MatrixError(
            "M_THREEPID_DENIED",
            "This homeserver does not invite by e-mail address or telephone number: give a user ID",
            403,
        )


def _check(wanted: NewRoom, creator: str) -> None:
    if len(wanted.invite) > MAX_INVITES:
        raise errors.invalid_param(f"At most {MAX_INVITES} users can be invited with the room's creation")
    if len(wanted.initial_state) > MAX_INITIAL_STATE:
        raise errors.invalid_param(f"At most {MAX_INITIAL_STATE} events can be given in initial_state")
    for user_id in wanted.invite:
        if not is_valid_user_id(user_id):
            raise errors.invalid_param(f"{user_id[:300]!r} in invite is not a user ID")
    for initial in wanted.initial_state:
        if initial.type == "m.room.create":
            raise errors.invalid_param(
                "m.room.create cannot be given in initial_state: its content is creation_content"
            )
        if initial.type == "m.room.member" and initial.state_key != creator:
            raise errors.invalid_param(
                "m.room.member of others cannot be given in initial_state: name them in invite"
            )


def _check_canonical(wanted: NewRoom, alias: str | None) -> None:
    """Raises M_INVALID_PARAM, M_BAD_ALIAS for a canonical alias that cannot lead to the new room: only one made with it does."""
    for initial in wanted.initial_state:
        if initial.key == (CANONICAL_ALIAS, ""):
            for named in aliases_in(initial.content, strict=True):
                if named != alias:
                    raise MatrixError("M_BAD_ALIAS", f"The alias {named} does not point to this room.")


def _presets(wanted: NewRoom) -> list[InitialState]:
    join_rule, visibility, guests = PRESETS[wanted.effective_preset]
    return [
        InitialState("m.room.join_rules", {"join_rule": join_rule}),
        InitialState("m.room.history_visibility", {"history_visibility": visibility}),
        InitialState("m.room.guest_access", {"guest_access": guests}),
    ]


def _named(wanted: NewRoom) -> list[InitialState]:
    named = []
    if wanted.name is not None:
        named.append(InitialState("m.room.name", {"name": wanted.name}))
    if wanted.topic is not None:
        plain = {"body": wanted.topic, "mimetype": "text/plain"}
        named.append(InitialState("m.room.topic", {"topic": wanted.topic, "m.topic": {"m.text": [plain]}}))
    return named


def _create_content(rules: RoomRules, wanted: NewRoom) -> dict[str, Any]:
    overwritten = {"creator", "room_version"}
    content = {key: value for key, value in wanted.creation_content.items() if key not in overwritten}
    if rules.privileged_creators and wanted.effective_preset == "trusted_private_chat" and wanted.invite:
        # "the server SHOULD combine `additional_creators` specified here and the `invite` array [...], deduplicating"
        named = content.get("additional_creators", [])
        if not isinstance(named, list):
            raise errors.bad_json("additional_creators in creation_content is a list of user IDs")
        content["additional_creators"] = list(dict.fromkeys([*named, *wanted.invite]))
    return content


def _power_levels(rules: RoomRules, creator: str, wanted: NewRoom) -> dict[str, Any]:
    """The default power levels with what the client overrides."""
    users: dict[str, int] = {}
    events = dict(STATE_LEVELS)
    if rules.privileged_creators:
        # "the power level for sending `m.room.tombstone` events MUST explicitly be higher than `state_default`."
        events["m.room.tombstone"] = ABOVE_ADMINISTRATORS
    else:
        users[creator] = 100
        if wanted.effective_preset == "trusted_private_chat":
            users.update((user_id, 100) for user_id in wanted.invite)
    levels: dict[str, Any] = {
        "users": users,
        "users_default": 0,
        "events": events,
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if wanted.effective_preset == "public_chat" else 0,
    }
    return {**levels, **wanted.power_level_content_override}
