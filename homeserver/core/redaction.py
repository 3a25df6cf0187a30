"""The redaction algorithm, over a PDU's JSON.

Spec: https://spec.matrix.org/v1.19/client-server-api/#redactions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.room_versions import RoomRules


def redact_pdu(pdu: Mapping[str, Any], rules: RoomRules) -> dict[str, Any]:
    """What is left of the PDU after redaction in this room version. The given PDU is not changed.

    Values that are kept are shared with it, not copied.
    """
    redaction = rules.redaction
    kept = {key: value for key, value in pdu.items() if key in redaction.top_level_keys}
    content = pdu.get("content")
    kept["content"] = redact_content(content, pdu.get("type"), rules) if isinstance(content, Mapping) else {}
    return kept


def redact_content(content: Mapping[str, Any], event_type: object, rules: RoomRules) -> dict[str, Any]:
    """What is left of the `content` of an event of this type."""
    redaction = rules.redaction
    if not isinstance(event_type, str) or event_type not in redaction.content_keys:
        return {}
    keys = redaction.content_keys[event_type]
    if keys is None:
        return dict(content)
    kept = {key: value for key, value in content.items() if key in keys}
    if event_type == "m.room.member" and redaction.third_party_invite_signed:
        # "The `third_party_invite` key of m.room.member events is no longer redacted, but will only contain
        # the `signed` key after redaction." So an object without `signed` becomes an empty object.
        # Spec: https://spec.matrix.org/v1.19/rooms/v11/#event-format
        invite = content.get("third_party_invite")
        if isinstance(invite, Mapping):
            kept["third_party_invite"] = {"signed": invite["signed"]} if "signed" in invite else {}
    return kept
