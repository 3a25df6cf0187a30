"""The sections of the answer that are for one device: its messages, its keys, and whose devices have changed.

They are empty: encryption keys and messages to devices are not served yet. Some clients ask for the sections nevertheless.
Spec: https://spec.matrix.org/v1.19/client-server-api/#extensions-to-sync
"""

from typing import Any

from homeserver.services.sync.request import Reader


def device_sections(reader: Reader) -> dict[str, Any]:
    """What stands in every answer; none of it is news."""
    sections: dict[str, Any] = {
        "to_device": {"events": []},
        "device_one_time_keys_count": {},
        "device_unused_fallback_key_types": [],
    }
    if reader.request.since is not None:
        # "only present on an incremental sync"
        sections["device_lists"] = {"changed": [], "left": []}
    return sections
