"""Presence: what a user's devices make of it, and the forms in which clients and servers get it.

Spec: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.identifiers import is_valid_user_id

ONLINE: Final = "online"
UNAVAILABLE: Final = "unavailable"
OFFLINE: Final = "offline"
STATES: Final = (ONLINE, UNAVAILABLE, OFFLINE)
PRESENCE: Final = "m.presence"
"""The type of the event for clients and of the EDU for servers."""

ACTIVE_MS = 60_000
"""How long a user counts as currently active after having done something."""

IDLE_MS = 5 * 60_000
"""After how long without activity a user who is connected becomes `unavailable`."""

GONE_MS = 30_000
"""After how long without a /sync a device counts no more."""

MAX_STATUS_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True)
class PresenceState:
    """The presence of a user. last_active_ms: when the user last did something, in ms since 1970; 0 when that is not known."""

    presence: str = OFFLINE
    status_msg: str | None = None
    last_active_ms: int = 0
    currently_active: bool = False

    def content(self, now_ms: int) -> dict[str, Any]:
        """What clients are told, at a time."""
        content: dict[str, Any] = {"presence": self.presence}
        if self.last_active_ms:
            content["last_active_ago"] = max(0, now_ms - self.last_active_ms)
        if self.status_msg is not None:
            content["status_msg"] = self.status_msg
        if self.presence == ONLINE:
            content["currently_active"] = self.currently_active
        return content

    def is_news(self, before: PresenceState) -> bool:
        """Whether this is worth telling those who know what was before.

        The time of the last activity alone is not, as long as the user is currently active: "the server will not send further
        updates to the last active time until [...] `currently_active` set to false".
        """
        if (self.presence, self.status_msg, self.currently_active) != (
            before.presence,
            before.status_msg,
            before.currently_active,
        ):
            return True
        is_watched = self.presence == ONLINE and not self.currently_active
        return is_watched and self.last_active_ms - before.last_active_ms >= ACTIVE_MS


@dataclass(slots=True)
class Device:
    """A device that has told what its user's presence is. asked: what it told; seen_ms: when, or when its last /sync ended.

    syncing: how many requests to /sync of it are being answered.
    """

    asked: str
    seen_ms: int
    syncing: int = 0

    def is_gone(self, now_ms: int) -> bool:
        """Whether the device counts no more."""
        return not self.syncing and now_ms >= self.seen_ms + GONE_MS


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the devices of a user make of the user's presence. until_ms: when that has to be looked at again; None: not before
    something happens."""

    presence: str
    currently_active: bool
    until_ms: int | None


def judge(devices: Iterable[Device], last_active_ms: int, now_ms: int) -> Judgement:
    """The presence of a user: that of the device that is most present, and `unavailable` after a time without activity.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#idle-timeout
    """
    present = [device for device in devices if device.asked != OFFLINE and not device.is_gone(now_ms)]
    times = [device.seen_ms + GONE_MS for device in present if not device.syncing]
    presence, currently_active = UNAVAILABLE if present else OFFLINE, False
    if any(device.asked == ONLINE for device in present) and now_ms < last_active_ms + IDLE_MS:
        presence, currently_active = ONLINE, now_ms < last_active_ms + ACTIVE_MS
        times.append(last_active_ms + (ACTIVE_MS if currently_active else IDLE_MS))
    return Judgement(presence, currently_active, min(times, default=None))


def presence_edu(user_id: str, state: PresenceState, now_ms: int) -> dict[str, Any]:
    """The content of the EDU that tells other servers of a user.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#presence
    """
    return {"push": [{"user_id": user_id, "last_active_ago": 0, **state.content(now_ms)}]}


def read_presence_edu(
    origin: str, content: Mapping[str, Any], now_ms: int, limit: int
) -> dict[str, PresenceState]:
    """What an EDU says, well-formed, of users of the server `origin`; at most `limit` of them."""
    push = content.get("push")
    found: dict[str, PresenceState] = {}
    for told in push[:limit] if isinstance(push, list) else ():
        user_id = told.get("user_id") if isinstance(told, Mapping) else None
        if is_valid_user_id(user_id) and str(user_id).partition(":")[2] == origin:
            state = _read_state(told, now_ms)
            if state is not None:
                found[str(user_id)] = state
    return found


def is_valid_status(status_msg: object) -> bool:
    """Whether this can be kept as a status message."""
    return (
        isinstance(status_msg, str)
        and "\0" not in status_msg
        and len(status_msg.encode()) <= MAX_STATUS_BYTES
    )


def _read_state(told: Mapping[str, Any], now_ms: int) -> PresenceState | None:
    presence, ago = told.get("presence"), told.get("last_active_ago", 0)
    if (
        presence not in STATES
        or not isinstance(ago, int)
        or isinstance(ago, bool)
        or not 0 <= ago <= MAX_INTEGER
    ):
        return None
    status_msg = told.get("status_msg")
    is_active = told.get("currently_active", False)
    return PresenceState(
        str(presence),
        status_msg if is_valid_status(status_msg) else None,
        max(0, now_ms - ago) if "last_active_ago" in told else 0,
        is_active is True and presence == ONLINE,
    )
