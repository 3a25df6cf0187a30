"""The event template that a resident server gives us to sign. Pure.

What we sign is what we are held to, so nothing of the template is signed as it stands: each field is checked, and the event is
made anew from the fields that passed.

Spec: https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.event_format import MAX_AUTH_EVENTS, MAX_PREV_EVENTS
from homeserver.core.events import EventReference
from homeserver.core.identifiers import (
    domain_of,
    is_domain_event_id,
    is_hash_event_id,
    is_url_safe_hash_event_id,
    is_valid_user_id,
)
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat, RoomRules

_VALID_EVENT_ID = {
    EventIDFormat.SERVER_CHOSEN: is_domain_event_id,
    EventIDFormat.HASH: is_hash_event_id,
    EventIDFormat.URL_SAFE_HASH: is_url_safe_hash_event_id,
}


class BadTemplate(ValueError):
    """The answer to make_join cannot be used; `reason` says which field is wrong and how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class JoinTemplate:
    """What of the template goes into our event; all else is our own.

    authorised_via: `content.join_authorised_via_users_server`, a user of the resident server.
    """

    rules: RoomRules
    prev_events: tuple[EventReference, ...]
    auth_events: tuple[EventReference, ...]
    depth: int
    authorised_via: str | None


def check_join_template(answer: Any, *, room_id: str, user_id: str, resident: str) -> JoinTemplate:
    """Check what `resident` answered to make_join for this user and room. Raises BadTemplate.

    "the sending server MUST verify that: the room_id is equal to the roomId path parameter; both the sender and state_key
    are equal to the userId path parameter; the type of the event is m.room.member; the membership field inside content is
    join. In case any of the above checks fail, the response MUST be treated as malformed and discarded."
    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("event"), Mapping):
        raise BadTemplate("there is no event in it")
    # "If not provided, the room version is assumed to be either 1 or 2": their events have the same form.
    version = answer.get("room_version", "1")
    if not isinstance(version, str) or version not in ROOM_VERSIONS:
        raise BadTemplate(f"the room has version {version!r:.40}, which this server does not support")
    rules = ROOM_VERSIONS[version]
    event: Mapping[str, Any] = answer["event"]
    expected = {"type": "m.room.member", "room_id": room_id, "sender": user_id, "state_key": user_id}
    for name, value in expected.items():
        if event.get(name) != value:
            raise BadTemplate(f"its {name} is {event.get(name)!r:.300}, not {value!r}")
    content = event.get("content")
    if not isinstance(content, Mapping) or content.get("membership") != "join":
        raise BadTemplate("its content.membership is not join")
    prev_events = _references(event, "prev_events", MAX_PREV_EVENTS, rules)
    if not prev_events:
        raise BadTemplate("it has no prev_events")
    return JoinTemplate(
        rules,
        prev_events,
        _references(event, "auth_events", MAX_AUTH_EVENTS, rules),
        _depth(event, rules),
        _authorised_via(content, rules, resident),
    )


def _authorised_via(content: Mapping[str, Any], rules: RoomRules, resident: str) -> str | None:
    """ "An arbitrary user ID belonging to the resident server in the room being joined"."""
    user = content.get("join_authorised_via_users_server")
    if user is None:
        return None
    if not rules.restricted_join:
        raise BadTemplate(f"it names an authorising user, which room version {rules.version} does not know")
    if not isinstance(user, str) or not is_valid_user_id(user) or domain_of(user) != resident:
        raise BadTemplate(f"the authorising user {user!r:.300} is not one of {resident}")
    return user


def _depth(event: Mapping[str, Any], rules: RoomRules) -> int:
    depth = event.get("depth")
    if type(depth) is not int or not 1 <= depth <= rules.max_depth:
        raise BadTemplate(f"its depth is {depth!r:.40}, not an integer from 1 to {rules.max_depth}")
    return depth


def _references(
    event: Mapping[str, Any], name: str, most: int, rules: RoomRules
) -> tuple[EventReference, ...]:
    entries = event.get(name)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise BadTemplate(f"its {name} is not a list")
    if len(entries) > most:
        raise BadTemplate(f"its {name} has {len(entries)} entries; at most {most} are allowed")
    references = tuple(_reference(entry, name, rules) for entry in entries)
    ids = [reference if isinstance(reference, str) else reference[0] for reference in references]
    if len(set(ids)) != len(ids):
        raise BadTemplate(f"its {name} names an event twice")
    return references


def _reference(entry: Any, name: str, rules: RoomRules) -> EventReference:
    event_id, hashes = entry, None
    if rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
        if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 2:
            raise BadTemplate(f"an entry of its {name} is not a pair of an event ID and hashes")
        event_id, hashes = entry
        if not isinstance(hashes, Mapping) or not isinstance(hashes.get("sha256", ""), str):
            raise BadTemplate(f"the hashes in an entry of its {name} are malformed")
    if not _VALID_EVENT_ID[rules.event_id_format](event_id):
        raise BadTemplate(
            f"{event_id!r:.300} in its {name} is not an event ID of room version {rules.version}"
        )
    if hashes is None:
        return str(event_id)
    return (event_id, {"sha256": hashes["sha256"]} if "sha256" in hashes else {})
