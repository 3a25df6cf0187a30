"""Who may see an event, by the room's history visibility.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from homeserver.core.events import Event, StateKey


class HistoryVisibility(Enum):
    """The value of `history_visibility` in m.room.history_visibility."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"

    @classmethod
    def of(cls, content: Any) -> "HistoryVisibility":
        """The value in an event's content.

        "By default if no history_visibility is set, or if the value is not understood, the visibility is assumed to be
        shared."
        """
        value = content.get("history_visibility") if hasattr(content, "get") else None
        return next((member for member in cls if member.value == value), cls.SHARED)


JOIN_RULES: StateKey = ("m.room.join_rules", "")
VISIBILITY: StateKey = ("m.room.history_visibility", "")
GUEST_ACCESS: StateKey = ("m.room.guest_access", "")
OPENNESS = frozenset({JOIN_RULES, VISIBILITY})
"""The entries of a room's state that say whether all the world may join or read it."""


def is_open(state: Mapping[StateKey, Event]) -> bool:
    """Whether all the world may join or read a room. state: the entries OPENNESS, as far as the room has them."""
    rule = state[JOIN_RULES].content.get("join_rule") if JOIN_RULES in state else None
    visibility = HistoryVisibility.of(state[VISIBILITY].content if VISIBILITY in state else None)
    return rule == "public" or visibility is HistoryVisibility.WORLD_READABLE


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides on whether a user sees an event.

    visibilities: the history visibility at the event; for m.room.history_visibility events that before and that after it.
    memberships: the user's membership at the event (None: none); for the user's own m.room.member events that before and that
    after it. joined_later: whether the user joined the room at any point after the event.
    """

    visibilities: frozenset[HistoryVisibility]
    memberships: frozenset[str | None]
    joined_later: bool


def may_see(circumstances: Circumstances) -> bool:
    """Whether the user may see the event.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-8
    """
    visibilities, memberships = circumstances.visibilities, circumstances.memberships
    # 1. If the history_visibility was set to world_readable, allow.
    if HistoryVisibility.WORLD_READABLE in visibilities:
        return True
    # 2. If the user's membership was join, allow.
    if "join" in memberships:
        return True
    # 3. If history_visibility was set to shared, and the user joined the room at any point after the event was sent, allow.
    if HistoryVisibility.SHARED in visibilities and circumstances.joined_later:
        return True
    # 4. If the user's membership was invite, and the history_visibility was set to invited, allow.
    # 5. Otherwise, deny.
    return "invite" in memberships and HistoryVisibility.INVITED in visibilities


def server_may_see(visibilities: frozenset[HistoryVisibility], memberships: frozenset[str]) -> bool:
    """Whether a server may be given an event: when one of its users may see it.

    memberships: those that the server's users had at the event.
    """
    if visibilities & {HistoryVisibility.WORLD_READABLE, HistoryVisibility.SHARED}:
        return True
    return "join" in memberships or ("invite" in memberships and HistoryVisibility.INVITED in visibilities)
