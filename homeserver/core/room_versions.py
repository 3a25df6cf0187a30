"""Room versions as data: what differs between them, and nothing else.

Each version is its predecessor with `replace(...)`, so that a version's paragraph here says what its page in
the specification says is new. Code asks for a flag (`rules.knock`), never for a version number.

Spec: https://spec.matrix.org/v1.19/rooms/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final


class EventIDFormat(Enum):
    """How an event gets its ID."""

    SERVER_CHOSEN = "server chosen"  # v1, v2: "$opaque:domain", a field of the PDU
    HASH = "hash"  # v3: the reference hash in unpadded base64
    URL_SAFE_HASH = "url-safe hash"  # v4 and later: the reference hash in URL-safe unpadded base64


class StateResolution(Enum):
    """The state resolution algorithm."""

    V1 = "1"
    V2 = "2"
    V2_1 = "2.1"


@dataclass(frozen=True, eq=False)
class RedactionRules:
    """What survives a redaction.

    `top_level_keys`: the keys of the event that are kept.
    `content_keys`: for each event type, the keys of `content` that are kept; None keeps all; a type that is
    not named keeps none.
    `third_party_invite_signed`: `content.third_party_invite` of m.room.member is kept with its key `signed`
    alone.
    """

    top_level_keys: frozenset[str]
    content_keys: Mapping[str, frozenset[str] | None]
    third_party_invite_signed: bool = False

    def keeping(self, changed: Mapping[str, frozenset[str] | None]) -> RedactionRules:
        """These rules with other kept content keys for some event types."""
        return replace(self, content_keys=MappingProxyType({**self.content_keys, **changed}))

    def without(self, event_type: str) -> RedactionRules:
        """These rules with nothing kept of the content of `event_type`."""
        kept = {name: keys for name, keys in self.content_keys.items() if name != event_type}
        return replace(self, content_keys=MappingProxyType(kept))


@dataclass(frozen=True, eq=False)
class RoomRules:
    """The rules of one room version. There is one instance a version, so rules compare by identity."""

    version: str
    event_id_format: EventIDFormat
    state_resolution: StateResolution
    redaction: RedactionRules
    max_depth: int
    """The highest `depth` an event can have."""
    strict_canonical_json: bool = False
    """v6+: canonical JSON is enforced: no floats, integers within [-(2**53)+1, 2**53-1]."""
    enforce_key_validity: bool = False
    """v5+: a signing key must have been valid at the event's `origin_server_ts`."""
    alias_events_auth: bool = True
    """v1-5: m.room.aliases has an authorisation rule of its own."""
    notifications_power_levels: bool = False
    """v6+: `notifications` of m.room.power_levels is protected by the authorisation rules."""
    knock: bool = False
    """v7+: membership and join rule `knock`."""
    restricted_join: bool = False
    """v8+: join rule `restricted` and `join_authorised_via_users_server`."""
    knock_restricted_join: bool = False
    """v10+: join rule `knock_restricted`."""
    integer_power_levels: bool = False
    """v10+: power levels are integers, never strings."""
    field_limits_in_bytes: bool = False
    """v11+: `type` and `state_key` of received events have at most 255 bytes; before, codepoints. See `event_format`."""
    redacts_in_content: bool = False
    """v11+: m.room.redaction names its target in `content.redacts` instead of `redacts`."""
    implicit_room_creator: bool = False
    """v11+: the room's creator is the sender of m.room.create; `content.creator` is gone."""
    redaction_auth_in_events: bool = True
    """v1-2: whether a redaction is allowed is part of the authorisation rules; later it is decided on
    application."""
    privileged_creators: bool = False
    """v12+: the room's creators have infinite power; `additional_creators`."""
    room_id_is_create_hash: bool = False
    """v12+: the room ID is the ID of the create event, with `!` for `$`; m.room.create has no `room_id`, and
    is not listed in `auth_events`."""


class UnknownRoomVersion(KeyError):
    """This server does not know the room version `version`."""

    def __init__(self, version: object) -> None:
        super().__init__(version)
        self.version = version

    def __str__(self) -> str:
        return f"unknown room version {self.version!r}"


MAX_INT64: Final = 2**63 - 1
MAX_SAFE_INTEGER: Final = 2**53 - 1

_POWER_LEVELS = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)

# Spec: https://spec.matrix.org/v1.19/rooms/v1/#redactions
_REDACTION_V1 = RedactionRules(
    top_level_keys=frozenset(
        {
            "event_id",
            "type",
            "room_id",
            "sender",
            "state_key",
            "content",
            "hashes",
            "signatures",
            "depth",
            "prev_events",
            "prev_state",
            "auth_events",
            "origin",
            "origin_server_ts",
            "membership",
        }
    ),
    content_keys=MappingProxyType(
        {
            "m.room.member": frozenset({"membership"}),
            "m.room.create": frozenset({"creator"}),
            "m.room.join_rules": frozenset({"join_rule"}),
            "m.room.power_levels": _POWER_LEVELS,
            "m.room.aliases": frozenset({"aliases"}),
            "m.room.history_visibility": frozenset({"history_visibility"}),
        }
    ),
)

# v6: all significant meaning of m.room.aliases is removed from the redaction algorithm.
# Spec: https://spec.matrix.org/v1.19/rooms/v6/#redactions
_REDACTION_V6 = _REDACTION_V1.without("m.room.aliases")

# v8: m.room.join_rules keeps `allow`. Spec: https://spec.matrix.org/v1.19/rooms/v8/#redactions
_REDACTION_V8 = _REDACTION_V6.keeping({"m.room.join_rules": frozenset({"join_rule", "allow"})})

# v9: m.room.member keeps `join_authorised_via_users_server`. Spec:
# https://spec.matrix.org/v1.19/rooms/v9/#redactions
_REDACTION_V9 = _REDACTION_V8.keeping(
    {"m.room.member": frozenset({"membership", "join_authorised_via_users_server"})}
)

# v11: `origin`, `membership` and `prev_state` are no longer kept; m.room.create keeps all of its content,
# m.room.redaction `redacts`, m.room.power_levels `invite`, and m.room.member `third_party_invite.signed`.
# Spec: https://spec.matrix.org/v1.19/rooms/v11/#redactions
_REDACTION_V11 = replace(
    _REDACTION_V9.keeping(
        {
            "m.room.create": None,
            "m.room.redaction": frozenset({"redacts"}),
            "m.room.power_levels": _POWER_LEVELS | {"invite"},
        }
    ),
    top_level_keys=_REDACTION_V9.top_level_keys - {"origin", "membership", "prev_state"},
    third_party_invite_signed=True,
)

_V1 = RoomRules(
    version="1",
    event_id_format=EventIDFormat.SERVER_CHOSEN,
    state_resolution=StateResolution.V1,
    redaction=_REDACTION_V1,
    max_depth=MAX_INT64,
)
_V2 = replace(_V1, version="2", state_resolution=StateResolution.V2)
_V3 = replace(_V2, version="3", event_id_format=EventIDFormat.HASH, redaction_auth_in_events=False)
_V4 = replace(_V3, version="4", event_id_format=EventIDFormat.URL_SAFE_HASH)
_V5 = replace(_V4, version="5", enforce_key_validity=True)
_V6 = replace(
    _V5,
    version="6",
    strict_canonical_json=True,
    max_depth=MAX_SAFE_INTEGER,
    alias_events_auth=False,
    notifications_power_levels=True,
    redaction=_REDACTION_V6,
)
_V7 = replace(_V6, version="7", knock=True)
_V8 = replace(_V7, version="8", restricted_join=True, redaction=_REDACTION_V8)
_V9 = replace(_V8, version="9", redaction=_REDACTION_V9)
_V10 = replace(_V9, version="10", knock_restricted_join=True, integer_power_levels=True)
_V11 = replace(
    _V10,
    version="11",
    field_limits_in_bytes=True,
    redacts_in_content=True,
    implicit_room_creator=True,
    redaction=_REDACTION_V11,
)
_V12 = replace(
    _V11,
    version="12",
    state_resolution=StateResolution.V2_1,
    privileged_creators=True,
    room_id_is_create_hash=True,
)

ROOM_VERSIONS: Final[Mapping[str, RoomRules]] = MappingProxyType(
    {rules.version: rules for rules in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
DEFAULT_ROOM_VERSION: Final = "12"


def rules_for(version: str) -> RoomRules:
    """The rules of the room version; raises `UnknownRoomVersion` (a KeyError)."""
    rules = ROOM_VERSIONS.get(version) if isinstance(version, str) else None
    if rules is None:
        raise UnknownRoomVersion(version)
    return rules
