"""The server-default rules, as the specification lists them and in its order.

Spec: https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from homeserver.core.push_rules.rules import Action, Condition, Kind, PushRule

MASTER: Final = ".m.rule.master"
"""The rule that is more important than all others: "even user defined ones"."""

NOTIFY: Final = "notify"
DEFAULT_SOUND: Final = {"set_tweak": "sound", "value": "default"}
RING: Final = {"set_tweak": "sound", "value": "ring"}
HIGHLIGHT: Final = {"set_tweak": "highlight"}


def _is(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _override(rule_id: str, conditions: Sequence[Condition], *actions: Action) -> PushRule:
    return PushRule(Kind.OVERRIDE, rule_id, actions, conditions, default=True)


def _underride(rule_id: str, conditions: Sequence[Condition], *actions: Action) -> PushRule:
    return PushRule(Kind.UNDERRIDE, rule_id, actions, conditions, default=True)


TWO_MEMBERS: Final = {"kind": "room_member_count", "is": "2"}


def _state(event_type: str) -> tuple[Condition, ...]:
    return _is("type", event_type), _is("state_key", "")


# Rules that do not name their owner are the same objects for everyone: so an event is held against each of them once, however many
# users are asked about (`recipients`).
_BEFORE_INVITES: Final = (
    PushRule(Kind.OVERRIDE, MASTER, (), (), default=True, enabled=False),
    _override(".m.rule.suppress_notices", (_is("content.msgtype", "m.notice"),)),
)
_MEMBER_EVENT: Final = _override(".m.rule.member_event", (_is("type", "m.room.member"),))
_ROOM_MENTIONED: Final = (
    {"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True},
    {"kind": "sender_notification_permission", "key": "room"},
)
_EDITED: Final = {"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"}
_AFTER_MENTIONS: Final = (
    _override(".m.rule.is_room_mention", _ROOM_MENTIONED, NOTIFY, HIGHLIGHT),
    _override(".m.rule.tombstone", _state("m.room.tombstone"), NOTIFY, HIGHLIGHT),
    _override(".m.rule.reaction", (_is("type", "m.reaction"),)),
    _override(".m.rule.room.server_acl", _state("m.room.server_acl")),
    _override(".m.rule.suppress_edits", (_EDITED,)),
)
_ENCRYPTED, _MESSAGE = _is("type", "m.room.encrypted"), _is("type", "m.room.message")
_UNDERRIDE: Final = (
    _underride(".m.rule.call", (_is("type", "m.call.invite"),), NOTIFY, RING),
    _underride(".m.rule.encrypted_room_one_to_one", (TWO_MEMBERS, _ENCRYPTED), NOTIFY, DEFAULT_SOUND),
    _underride(".m.rule.room_one_to_one", (TWO_MEMBERS, _MESSAGE), NOTIFY, DEFAULT_SOUND),
    _underride(".m.rule.message", (_MESSAGE,), NOTIFY),
    _underride(".m.rule.encrypted", (_ENCRYPTED,), NOTIFY),
)


# One call makes the rules of thousands of users who have changed nothing; the user ID stands in two of them.
@lru_cache(maxsize=4096)
def default_rules(user_id: str) -> Mapping[Kind, Sequence[PushRule]]:
    """The default rules of a user."""
    invited = (
        _is("type", "m.room.member"),
        _is("content.membership", "invite"),
        _is("state_key", user_id),
    )
    user_mentioned = {
        "kind": "event_property_contains",
        "key": r"content.m\.mentions.user_ids",
        "value": user_id,
    }
    override = (
        *_BEFORE_INVITES,
        _override(".m.rule.invite_for_me", invited, NOTIFY, DEFAULT_SOUND),
        _MEMBER_EVENT,
        _override(".m.rule.is_user_mention", (user_mentioned,), NOTIFY, DEFAULT_SOUND, HIGHLIGHT),
        *_AFTER_MENTIONS,
    )
    return {Kind.OVERRIDE: override, Kind.UNDERRIDE: _UNDERRIDE}
