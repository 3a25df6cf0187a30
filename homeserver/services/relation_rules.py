"""Which relations our users may send: what would be ignored by everybody is refused, so that its sender learns of it.

Runs inside a unit of work: it awaits nothing but `tx`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core import errors
from homeserver.core.relations import ANNOTATION, THREAD, Relation, may_be_thread_root, relation_of
from homeserver.storage import events as stored_events
from homeserver.storage import relations
from homeserver.storage.database import Transaction


async def check_relation(
    tx: Transaction, room_nid: int, sender: str, event_type: str, content: Mapping[str, Any]
) -> None:
    """Raises M_DUPLICATE_ANNOTATION, and M_UNKNOWN for a thread that would start from an event which itself relates to another."""
    relation = relation_of(content)
    if relation is None:
        return
    if relation.rel_type == THREAD:
        await _check_thread(tx, room_nid, relation)
    elif relation.rel_type == ANNOTATION and await relations.has_annotation(
        tx, room_nid, sender, event_type, relation
    ):
        raise errors.duplicate_annotation("You have annotated this event so already: redact that first")


async def _check_thread(tx: Transaction, room_nid: int, relation: Relation) -> None:
    """ "Servers SHOULD reject client requests which attempt to start a thread off an event with an `m.relates_to` property."

    Spec: https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
    """
    root = await stored_events.get(tx, relation.parent)
    if root is not None and root.room_nid == room_nid and not may_be_thread_root(root.event):
        raise errors.unknown(
            "A thread cannot start from an event that itself relates to another (in a thread, relate to its root)",
            400,
        )
