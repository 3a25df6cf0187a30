"""Which events authorise an event, and whether the ones it names are those.

Spec: https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from homeserver.core.auth_rules.refusal import Refusal, rule_numbers
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS
from homeserver.core.room_versions import RoomRules

JOIN_RULES: StateKey = ("m.room.join_rules", "")


def auth_keys(
    rules: RoomRules, event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any]
) -> frozenset[StateKey]:
    """The entries of the room state that authorise an event with these fields; the state need not have them
    all.

    Empty for m.room.create. From room version 12 on m.room.create is not among them, because the room ID
    names it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
    """
    # "The auth_events for the m.room.create event in a room is empty"
    if event_type == "m.room.create":
        return frozenset()
    # "The current m.room.power_levels event, if any. The sender's current m.room.member event, if any."
    keys = {POWER_LEVELS, ("m.room.member", sender)}
    # "Depending on the room version, the m.room.create event."
    if not rules.room_id_is_create_hash:
        keys.add(CREATE)
    # "If type is m.room.member:"
    if event_type == "m.room.member" and state_key is not None:
        keys |= _member_auth_keys(rules, state_key, content)
    return frozenset(keys)


def _member_auth_keys(rules: RoomRules, target: str, content: Mapping[str, Any]) -> set[StateKey]:
    membership = content.get("membership")
    # "The target's current m.room.member event, if any."
    keys = {("m.room.member", target)}
    # "If membership is join, invite or knock, the current m.room.join_rules event, if any."
    if membership in ("join", "invite", "knock"):
        keys.add(JOIN_RULES)
    # "If membership is invite and content contains a third_party_invite property, the current
    # m.room.third_party_invite event with state_key matching content.third_party_invite.signed.token, if
    # any."
    if membership == "invite":
        token = third_party_token(content)
        if token is not None:
            keys.add(("m.room.third_party_invite", token))
    # "If membership is join, content.join_authorised_via_users_server is present, and the room version
    # supports restricted rooms, then the m.room.member event with state_key matching it."
    if membership == "join" and rules.restricted_join:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            keys.add(("m.room.member", authoriser))
    return keys


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """`content.third_party_invite.signed.token`, if it is there and a string."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, Mapping) else None
    token = signed.get("token") if isinstance(signed, Mapping) else None
    return token if isinstance(token, str) else None


def event_auth_keys(event: Event) -> frozenset[StateKey]:
    """`auth_keys` of an event that exists already."""
    return auth_keys(event.rules, event.type, event.sender, event.state_key, event.content)


def check_auth_events(
    event: Event, auth_events: Mapping[str, Event], rejected: Container[str]
) -> Refusal | None:
    """The rule "Considering the event's auth_events", and in room version 12 the rule on the room ID before
    it.

    `auth_events` holds, by event ID, at least the events that `event.auth_event_ids_with_create` names; one
    that is missing is a refusal, so the caller fetches what it does not have before it asks. `rejected` tells
    which of them were rejected when they were received. m.room.create is always allowed here: rule 1 decides
    on it alone.

    Spec: https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules
    """
    if event.type == "m.room.create":
        return None
    numbers = rule_numbers(event.rules)
    if event.rules.room_id_is_create_hash:
        refusal = _check_room_id(event, auth_events, rejected)
        if refusal is not None:
            return refusal
    rule = numbers.auth_events
    allowed = event_auth_keys(event)
    seen: set[StateKey] = set()
    for event_id in event.auth_event_ids:
        auth_event = auth_events.get(event_id)
        if auth_event is None:
            return numbers.refuse(rule, f"the auth event {event_id} is not known")
        key = (auth_event.type, auth_event.state_key)
        # "If there are entries whose type and state_key don't match those specified by the auth events
        # selection algorithm described in the server specification, reject."
        if auth_event.state_key is None or auth_event.key not in allowed:
            return numbers.refuse(f"{rule}.2", f"the auth event {event_id} {key} has no say over this event")
        # "If there are duplicate entries for a given type and state_key pair, reject."
        if auth_event.key in seen:
            return numbers.refuse(f"{rule}.1", f"auth_events has two entries for {key}")
        seen.add(auth_event.key)
        # "If there are entries which were themselves rejected under the checks performed on receipt of a PDU,
        # reject."
        if event_id in rejected:
            return numbers.refuse(f"{rule}.3", f"the auth event {event_id} {key} was itself rejected")
        # "If any event in auth_events has a room_id which does not match that of the event being authorised,
        # reject."
        if auth_event.room_id != event.room_id:
            return numbers.refuse(f"{rule}.5", f"the auth event {event_id} {key} is of another room")
    # v1-11: "If there is no m.room.create event among the entries, reject."
    if not event.rules.room_id_is_create_hash and CREATE not in seen:
        return numbers.refuse(f"{rule}.4", "the room's create event is not among the auth events")
    return None


def _check_room_id(
    event: Event, auth_events: Mapping[str, Event], rejected: Container[str]
) -> Refusal | None:
    # v12 2: "If the event's room_id is not an event ID for an accepted (not rejected) m.room.create event,
    # with the sigil ! instead of $, reject."
    numbers = rule_numbers(event.rules)
    create_id = "$" + event.room_id[1:]
    create = auth_events.get(create_id)
    if create is None or create.type != "m.room.create":
        return numbers.refuse(numbers.room_id, f"{create_id} is not a create event that is known")
    if create_id in rejected:
        return numbers.refuse(numbers.room_id, f"the create event {create_id} was rejected")
    return None
