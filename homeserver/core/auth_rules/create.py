"""Rule 1: m.room.create.

Spec: https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules, changed in
https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules and
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from __future__ import annotations

from homeserver.core.auth_rules.refusal import Refusal, rule_numbers
from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.room_versions import ROOM_VERSIONS


def authorise_create(event: Event) -> Refusal | None:
    """Rule 1. It needs no state: the create event is where the state begins."""
    rules, refuse = event.rules, rule_numbers(event.rules).refuse
    # 1.1: "If it has any prev_events, reject."
    if event.prev_event_ids:
        return refuse("1.1", "the create event has prev_events, but it must be the first event of its room")
    if rules.room_id_is_create_hash:
        # v12 1.2: "If the event has a room_id, reject."
        if "room_id" in event.pdu:
            return refuse("1.2", "the create event has a room_id, but its own ID is the room's")
    # 1.2: "If the domain of the room_id does not match the domain of the sender, reject."
    elif event.room_id.partition(":")[2] != event.sender_domain:
        return refuse("1.2", f"the room ID {event.room_id} is not of the server of the sender {event.sender}")
    # 1.3: "If content.room_version is present and is not a recognised version, reject." A version other than
    # the one whose rules are being applied is refused too: the room would be judged by rules that are not its
    # own.
    if "room_version" in event.content:
        version = event.content["room_version"]
        if not isinstance(version, str) or version not in ROOM_VERSIONS:
            return refuse("1.3", f"the room version {version!r} is not known")
        if version != rules.version:
            return refuse("1.3", f"the create event is of room version {version}, not {rules.version}")
    # v1-10 1.4: "If content has no creator property, reject."
    if not rules.implicit_room_creator and "creator" not in event.content:
        return refuse("1.4", "the create event names no creator")
    # v12 1.4: "If additional_creators is present in content and is not an array of strings where each string
    # passes the same user ID validation applied to sender, reject."
    if rules.privileged_creators and "additional_creators" in event.content:
        additional = event.content["additional_creators"]
        if not isinstance(additional, list):
            return refuse("1.4", "additional_creators is not a list of user IDs")
        for user_id in additional:
            if not is_valid_user_id(user_id):
                return refuse("1.4", f"additional_creators names {user_id!r}, which is not a user ID")
    # "Otherwise, allow."
    return None
