"""Which members a device has been told of already, so that lazy-loading does not repeat them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

DEVICES_KEPT = 5_000
MEMBERS_KEPT = 2_000
"""For each device."""

Device = tuple[str, str | None]
"""(user ID, device ID)"""


@dataclass(slots=True)
class _Told:
    """acknowledged: event IDs of answers after which the device came back, newest last; up_to: with which position.

    pending: those of the last answer, of which we do not know yet whether it arrived; pending_at: its position.
    """

    acknowledged: OrderedDict[str, None] = field(default_factory=OrderedDict)
    up_to: int = -1
    pending: frozenset[str] = frozenset()
    pending_at: int = -1


class SentMembers:
    """Remembers the member events that devices have received. What it forgets is sent again, which is allowed and harmless.

    An answer counts as received when the device comes back with its `next_batch`.
    """

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._devices: OrderedDict[Device, _Told] = OrderedDict()

    def known(self, device: Device, since: int | None) -> Collection[str]:
        """The member events that the device has when it asks what is new since a position; None: an initial sync."""
        told = self._devices.get(device)
        if told is None or since is None or since < told.up_to:
            # A device that goes back in time has lost what it was told since.
            self._devices.pop(device, None)
            return frozenset()
        if since == told.pending_at:
            for event_id in told.pending:
                told.acknowledged[event_id] = None
                told.acknowledged.move_to_end(event_id)
            while len(told.acknowledged) > MEMBERS_KEPT:
                told.acknowledged.popitem(last=False)
        told.up_to = since
        told.pending = frozenset()
        return frozenset(told.acknowledged)

    def note(self, device: Device, position: int, event_ids: Collection[str]) -> None:
        """The device is sent these member events now, with an answer that goes up to a position."""
        told = self._devices.setdefault(device, _Told())
        self._devices.move_to_end(device)
        told.pending, told.pending_at = frozenset(event_ids), position
        if len(self._devices) > DEVICES_KEPT:
            self._devices.popitem(last=False)
