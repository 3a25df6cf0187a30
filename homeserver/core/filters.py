"""Filters: which events a client wants to see. Plain data and the matching; `homeserver.services.filters`
reads them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events, by type and sender. A list that is None lets everything through; `limit` is as asked, 0
    or more.
    """

    limit: int | None = None
    senders: tuple[str, ...] | None = None
    not_senders: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()

    def allows(self, event_type: str, sender: str | None) -> bool:
        """Whether an event of this type and sender passes. `sender` None is an event that has none (account
        data).
        """
        return _allows(self, event_type, sender)


@dataclass(frozen=True, slots=True)
class RoomEventFilter:
    """Which events of rooms: an EventFilter that knows rooms, `url` keys and the lazy loading of members.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
    """

    limit: int | None = None
    senders: tuple[str, ...] | None = None
    not_senders: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] = ()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    def allows_room(self, room_id: str) -> bool:
        """Whether events of this room can pass at all."""
        return _allows_room(self.rooms, self.not_rooms, room_id)

    def allows(self, event_type: str, sender: str | None, content: Mapping[str, Any]) -> bool:
        """Whether an event with this type, sender and content passes; its room is `allows_room`'s matter."""
        if self.contains_url is not None and (isinstance(content.get("url"), str)) != self.contains_url:
            return False
        return _allows(self, event_type, sender)

    @property
    def lets_all_through(self) -> bool:
        """Whether no event of an allowed room can be held back: then events need not be looked at."""
        return (
            self.senders is None
            and self.types is None
            and self.contains_url is None
            and not self.not_senders
            and not self.not_types
        )


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """The `room` section of a filter."""

    rooms: tuple[str, ...] | None = None
    not_rooms: tuple[str, ...] = ()
    include_leave: bool = False
    state: RoomEventFilter = field(default_factory=RoomEventFilter)
    timeline: RoomEventFilter = field(default_factory=RoomEventFilter)
    ephemeral: RoomEventFilter = field(default_factory=RoomEventFilter)
    account_data: RoomEventFilter = field(default_factory=RoomEventFilter)

    def allows_room(self, room_id: str) -> bool:
        """Whether the room is to be seen at all; comes before the filters of the sections."""
        return _allows_room(self.rooms, self.not_rooms, room_id)


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole filter, as uploaded or given inline to /sync. `event_fields` are dot-separated property paths.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
    """

    event_fields: tuple[str, ...] | None = None
    event_format: Literal["client", "federation"] = "client"
    presence: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)
    room: RoomFilter = field(default_factory=RoomFilter)


def _allows_room(rooms: Sequence[str] | None, not_rooms: Sequence[str], room_id: str) -> bool:
    return room_id not in not_rooms and (rooms is None or room_id in rooms)


def _allows(wanted: EventFilter | RoomEventFilter, event_type: str, sender: str | None) -> bool:
    # "A matching sender will be excluded even if it is listed in the senders filter."
    if wanted.not_senders and sender in wanted.not_senders:
        return False
    if wanted.senders is not None and sender not in wanted.senders:
        return False
    # "A matching type will be excluded even if it is listed in the types filter."
    if wanted.not_types and _any_matches(wanted.not_types, event_type):
        return False
    return wanted.types is None or _any_matches(wanted.types, event_type)


def _any_matches(patterns: tuple[str, ...], event_type: str) -> bool:
    return any(
        pattern == event_type or ("*" in pattern and _matches(pattern, event_type)) for pattern in patterns
    )


def _matches(pattern: str, text: str) -> bool:
    """Whether the text matches a pattern in which `*` stands for any sequence of characters.

    Taking each part at its first place is enough, so this needs no going back: a regular expression would, and a
    pattern of many `*` would take for ever.
    """
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True
