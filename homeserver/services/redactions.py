"""Redactions: which of them take effect, when, and who is shown them.

Runs inside a unit of work: it awaits nothing but `tx`.
Spec: https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
"""

from collections.abc import Collection, Mapping, Sequence

from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.services import event_store
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, NewEvent, StoredEvent


def redaction_applies(redaction: Event, target: Event, state: Mapping[StateKey, Event]) -> bool:
    """Whether a server should apply a redaction that it has accepted.

    state: the power levels and the create event before the redaction.
    Spec: https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    """
    if target.room_id != redaction.room_id or target.type == "m.room.create":
        return False
    # Versions 1 and 2: "redactions were explicitly part of the authorisation rules".
    if redaction.rules.redaction_auth_in_events:
        return True
    # "2. The domain of the redaction event's sender matches that of the original event's sender."
    if redaction.sender_domain == target.sender_domain:
        return True
    # "1. The power level of the redaction event's sender is greater than or equal to the redact level."
    return power_levels_of(state).can_redact_others(redaction.sender)


async def apply_redactions(
    tx: Transaction, states: RoomStates, stored: Sequence[NewEvent], *, may_be_waited_for: Collection[str]
) -> set[str]:
    """Apply the redactions among events that this unit of work has stored, and those that have waited for one of them.

    may_be_waited_for: the IDs of those that a redaction may have named before they came. Returns the IDs of the events that are
    redacted or withheld now.

    "While redactions are always accepted by the authorisation rules for events, they should not be sent to clients until both the
    redaction event and the event the redaction affects have been received, and can be validated." Until then they are withheld.
    """
    new = {
        event.event.event_id: event.event.redacts
        for event in stored
        if event.event.type == "m.room.redaction"
        and event.status is EventStatus.ACCEPTED
        and event.position is not None
    }
    pairs = [(target, redaction) for redaction, target in new.items()]
    if may_be_waited_for:
        waiting = await stored_events.take_pending_redactions(tx, may_be_waited_for)
        pairs += [(target, redaction) for target, ids in waiting.items() for redaction in ids]
    if not pairs:
        return set()
    found = await stored_events.get_many(tx, {event_id for pair in pairs for event_id in pair if event_id})
    redacted: set[str] = set()
    withheld: set[str] = set()
    for target_id, redaction_id in pairs:
        redaction, target = found.get(redaction_id), found.get(target_id or "")
        if redaction is None:
            continue
        if target_id and target is None:
            await stored_events.add_pending_redaction(tx, target_id, redaction_id)
        applies = target is not None and await _may_apply(tx, states, redaction, target)
        shown = applies or redaction.event.rules.redaction_auth_in_events
        status = EventStatus.ACCEPTED if shown else EventStatus.WITHHELD
        if not shown:
            withheld.add(redaction_id)
        if status is not redaction.status:
            await stored_events.set_status(tx, redaction_id, status)
        if applies and target and not target.redacted_by and target.event.event_id not in redacted:
            redacted.add(target.event.event_id)
            await event_store.apply_redaction(tx, target, redaction_id)
    return redacted | withheld


async def _may_apply(
    tx: Transaction, states: RoomStates, redaction: StoredEvent, target: StoredEvent
) -> bool:
    if target.room_nid != redaction.room_nid or redaction.state_before is None:
        return False
    state = await states.events(tx, redaction.state_before, [POWER_LEVELS, CREATE])
    return redaction_applies(redaction.event, target.event, state)
