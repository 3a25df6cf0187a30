"""Which members a device has been told of already, so that lazy-loading does not repeat them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
"""

from collections import OrderedDict

DEVICES_KEPT = 5_000
MEMBERS_KEPT = 2_000
"""For each device."""

Device = tuple[str, str | None]
"""(user ID, device ID)"""


class SentMembers:
    """Remembers the member events that devices were sent. What it forgets is sent again, which is allowed and harmless."""

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._devices: OrderedDict[Device, OrderedDict[str, None]] = OrderedDict()

    def forget(self, device: Device) -> None:
        """The device starts anew: an initial sync."""
        self._devices.pop(device, None)

    def was_sent(self, device: Device, event_id: str) -> bool:
        """Whether the device has this member event."""
        return event_id in self._devices.get(device, ())

    def note(self, device: Device, event_id: str) -> None:
        """The device is sent this member event now."""
        sent = self._devices.setdefault(device, OrderedDict())
        self._devices.move_to_end(device)
        sent[event_id] = None
        sent.move_to_end(event_id)
        if len(sent) > MEMBERS_KEPT:
            sent.popitem(last=False)
        if len(self._devices) > DEVICES_KEPT:
            self._devices.popitem(last=False)
