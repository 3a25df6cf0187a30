"""Whether a redaction takes effect on its target."""

from collections.abc import Mapping

from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import power_levels_of


def redaction_applies(redaction: Event, target: Event, state: Mapping[StateKey, Event]) -> bool:
    """Whether a server should apply a redaction that it has accepted.

    state: the power levels and the create event before the redaction.

    "the redaction event's sender has a power level greater than or equal to the redact level, or the domain of the redaction
    event's sender matches that of the original event's sender."
    Spec: https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    """
    if target.room_id != redaction.room_id or target.type == "m.room.create":
        return False
    if redaction.sender_domain == target.sender_domain:
        return True
    return power_levels_of(state).can_redact_others(redaction.sender)
