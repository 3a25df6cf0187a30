"""The authorisation rules in their order: whether an event is allowed in a room state.

The modules beside this one hold the rules for single event types; what is here applies to all.

Spec: https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.core.auth_rules.context import Context
from homeserver.core.auth_rules.create import authorise_create
from homeserver.core.auth_rules.membership import authorise_member
from homeserver.core.auth_rules.power_levels_event import authorise_power_levels
from homeserver.core.auth_rules.refusal import Refusal, rule_numbers
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE


def authorise(event: Event, state: Mapping[StateKey, Event]) -> Refusal | None:
    """Whether the event is allowed in this room state: None, or the refusal.

    `state` is the room state before the event, or the event's auth events by their keys: at least its entries
    for `auth_keys(...)`, as far as the room has them, and m.room.create (in every room version). All rules
    are applied but those on the `auth_events` field, which `check_auth_events` applies.

    Numbers in comments are those of room version 11.

    Spec: https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules
    """
    # 1: "If type is m.room.create:"
    if event.type == "m.room.create":
        return authorise_create(event)
    numbers = rule_numbers(event.rules)
    create = state.get(CREATE)
    if create is None:
        # 2.4: "If there is no m.room.create event among the entries, reject."
        rule = numbers.room_id or f"{numbers.auth_events}.4"
        return numbers.refuse(rule, "there is no create event: the room is not known")
    # v12 2: "If the event's room_id is not an event ID for an accepted (not rejected) m.room.create event,
    # with the sigil ! instead of $, reject."
    if event.rules.room_id_is_create_hash and event.room_id[1:] != create.event_id[1:]:
        return numbers.refuse(
            numbers.room_id, f"{create.event_id} is not the create event of {event.room_id}"
        )
    # 3: "If the content of the m.room.create event in the room state has the property m.federate set to
    # false, and the sender domain of the event does not match the sender domain of the create event, reject."
    if create.content.get("m.federate") is False and event.sender_domain != create.sender_domain:
        return numbers.refuse(
            numbers.federate, f"the room is only for users of {create.sender_domain} (m.federate is false)"
        )
    # v1-5 4: "If type is m.room.aliases:"
    if event.type == "m.room.aliases" and event.rules.alias_events_auth:
        return _authorise_aliases(event)
    context = Context.of(event, state, create)
    # 4: "If type is m.room.member:"
    if event.type == "m.room.member":
        return authorise_member(context)
    return _authorise_other(context)


def _authorise_aliases(event: Event) -> Refusal | None:
    numbers = rule_numbers(event.rules)
    # v1-5 4.1: "If event has no state_key, reject."
    if event.state_key is None:
        return numbers.refuse(f"{numbers.aliases}.1", "the aliases event has no state_key")
    # v1-5 4.2: "If sender's domain doesn't match state_key, reject."
    if event.sender_domain != event.state_key:
        return numbers.refuse(
            f"{numbers.aliases}.2", f"{event.sender} cannot set the aliases of {event.state_key}"
        )
    # v1-5 4.3: "Otherwise, allow."
    return None


def _authorise_other(context: Context) -> Refusal | None:
    """Every type but m.room.create, m.room.member and, where it has a rule of its own, m.room.aliases."""
    event, numbers, level = context.event, context.numbers, context.sender_level
    # 5: "If the sender's current membership state is not join, reject."
    if context.membership_of(event.sender) != "join":
        return context.refuse(numbers.sender_joined, f"{event.sender} is not in the room")
    # 6: "If type is m.room.third_party_invite: Allow if and only if sender's current power level is greater
    # than or equal to the invite level."
    if event.type == "m.room.third_party_invite":
        if level >= context.levels.invite:
            return None
        return context.refuse(
            f"{numbers.third_party_invite}.1",
            f"{event.sender} has power level {level}, but inviting needs {context.levels.invite}",
        )
    # 7: "If the event type's required power level is greater than the sender's power level, reject."
    required = context.levels.required_level(event.type, is_state=event.is_state)
    if required > level:
        return context.refuse(
            numbers.required_level,
            f"{event.sender} has power level {level}, but sending {event.type} needs {required}",
        )
    # 8: "If the event has a state_key that starts with an @ and does not match the sender, reject."
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        return context.refuse(
            numbers.user_state_key, f"the state key {event.state_key} is for that user alone to set"
        )
    # 9: "If type is m.room.power_levels:"
    if event.type == "m.room.power_levels":
        return authorise_power_levels(context)
    # v1-2 11: "If type is m.room.redaction:"
    if event.type == "m.room.redaction" and event.rules.redaction_auth_in_events:
        return _authorise_redaction(context)
    # 10: "Otherwise, allow."
    return None


def _authorise_redaction(context: Context) -> Refusal | None:
    event, levels = context.event, context.levels
    # v1-2 11.1: "If the sender's power level is greater than or equal to the redact level, allow."
    if context.sender_level >= levels.redact:
        return None
    # v1-2 11.2: "If the domain of the event_id of the event being redacted is the same as the domain of the
    # event_id of the m.room.redaction, allow."
    if event.redacts is not None:
        domain = event.redacts.partition(":")[2]
        if domain and domain == event.event_id.partition(":")[2]:
            return None
    # v1-2 11.3: "Otherwise, reject."
    return context.refuse(
        f"{context.numbers.redaction}.3",
        f"{event.sender} has power level {context.sender_level}, but redacting events of other servers needs "
        f"{levels.redact}",
    )
