"""Relations between events: what an event's `m.relates_to` says, and when it counts.

Spec: https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.events import Event
from homeserver.core.identifiers import is_valid_event_id

ANNOTATION: Final = "m.annotation"
REFERENCE: Final = "m.reference"
REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"

ENCRYPTED: Final = "m.room.encrypted"
MAX_REL_TYPE_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class Relation:
    """What a child event says of its parent. parent: its event ID. key: of an annotation, where it is a string."""

    parent: str
    rel_type: str
    key: str | None = None


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relation in an event's content; None when there is none, or it does not match the schema ("simply ignored")."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, Mapping):
        return None
    parent, rel_type = relates_to.get("event_id"), relates_to.get("rel_type")
    if not isinstance(rel_type, str) or not is_valid_event_id(parent):
        return None
    if not rel_type or len(rel_type.encode("utf-8", "replace")) > MAX_REL_TYPE_BYTES:
        return None
    key = relates_to.get("key") if rel_type == ANNOTATION else None
    return Relation(str(parent), rel_type, key if isinstance(key, str) else None)


def may_replace(event: Event) -> bool:
    """Whether an event can replace another at all: it is no state, and has new content (where we can tell: it may be encrypted).

    Spec: https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
    """
    if event.is_state:
        return False
    return event.type == ENCRYPTED or isinstance(event.content.get("m.new_content"), Mapping)


def may_be_thread_root(event: Event) -> bool:
    """Whether a thread can start from an event: not from one that itself relates to another.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#threading
    """
    return relation_of(event.content) is None


def may_be_replaced(event: Event) -> bool:
    """Whether an event can have replacements: it is no state, and no replacement itself."""
    if event.is_state:
        return False
    relation = relation_of(event.content)
    return relation is None or relation.rel_type != REPLACE
