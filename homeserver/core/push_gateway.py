"""The bodies of requests to push gateways.

Spec: https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.events import Event

EVENT_ID_ONLY: Final = "event_id_only"
NOTIFY_PATH: Final = "/_matrix/push/v1/notify"
HTTPS_PORT: Final = 443
MAX_PORT: Final = 65_535

_GATEWAY_URL: Final = re.compile(
    r"(?i:https)://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    + re.escape(NOTIFY_PATH)
    + r"(?:\?[!\"$-~]{0,2000})?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a push is to arrive. data: what the client has given, with `url`. set_seconds: when, since 1970."""

    app_id: str
    pushkey: str
    set_seconds: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class About:
    """The event that a push is about, and what its room is called. tweaks: from the push rule that matched."""

    event: Event
    tweaks: Mapping[str, Any]
    sender_display_name: str | None = None
    room_name: str | None = None
    room_alias: str | None = None
    user_is_target: bool = False


def is_gateway_url(url: object) -> bool:
    """Whether it "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`" and is one."""
    matched = _GATEWAY_URL.fullmatch(url) if isinstance(url, str) else None
    return matched is not None and int(matched["port"] or HTTPS_PORT) <= MAX_PORT


def event_notification(
    target: Target, about: About, unread: int, missed_calls: int, *, include_content: bool
) -> dict[str, Any]:
    """The body that tells of an event. unread: the number to be shown on the app's icon."""
    event, tweaks = about.event, about.tweaks
    is_urgent = event.type == "m.room.encrypted" or bool(tweaks.get("highlight")) or bool(tweaks.get("sound"))
    notification: dict[str, Any] = {
        "event_id": event.event_id,
        "room_id": event.room_id,
        # Whoever decides what an encrypted event is does so on the device, which has to be woken for it.
        "prio": "high" if is_urgent else "low",
        # "Counts whose value is zero should be omitted."
        "counts": {
            name: count for name, count in (("unread", unread), ("missed_calls", missed_calls)) if count
        },
    }
    if target.data.get("format") == EVENT_ID_ONLY:
        return _for(target, notification, None)
    notification |= {"type": event.type, "sender": event.sender}
    names = {
        "sender_display_name": about.sender_display_name,
        "room_name": about.room_name,
        "room_alias": about.room_alias,
    }
    notification |= {key: name for key, name in names.items() if name}
    if event.type == "m.room.member":
        notification["user_is_target"] = about.user_is_target
    if include_content:
        notification["content"] = event.content
    return _for(target, notification, tweaks)


def badge_notification(target: Target, unread: int, missed_calls: int) -> dict[str, Any]:
    """The body that tells of a new number of unread notifications alone. It is told also when it is 0: else it would not go."""
    counts = {"unread": unread} | ({"missed_calls": missed_calls} if missed_calls else {})
    return _for(target, {"counts": counts}, None)


def _for(target: Target, notification: Mapping[str, Any], tweaks: Mapping[str, Any] | None) -> dict[str, Any]:
    device: dict[str, Any] = {
        "app_id": target.app_id,
        "pushkey": target.pushkey,
        "pushkey_ts": target.set_seconds,
        # "Servers MUST forward the entire content including `format` and any custom keys but excluding `url`."
        "data": {key: value for key, value in target.data.items() if key != "url"},
    }
    if tweaks is not None:
        device["tweaks"] = dict(tweaks)
    return {"notification": {**notification, "devices": [device]}}
