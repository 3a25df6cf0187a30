"""Receipts: what they say, when one replaces another, and the forms in which clients and servers get them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.errors import invalid_param
from homeserver.core.identifiers import is_valid_event_id, is_valid_room_id, is_valid_user_id

READ: Final = "m.read"
READ_PRIVATE: Final = "m.read.private"
FULLY_READ: Final = "m.fully_read"
RECEIPT: Final = "m.receipt"
"""The type of the event for clients and of the EDU for servers."""

MAIN: Final = "main"
"""The thread ID of what is in no thread."""

UNTHREADED: Final = ""
"""What stands for the thread ID of a receipt that has none."""


@dataclass(frozen=True, slots=True)
class Read:
    """A user has read a room up to an event. sent_ms: when, in ms since 1970. thread_id: UNTHREADED, MAIN or a thread root's ID."""

    room_id: str
    user_id: str
    type: str
    thread_id: str
    event_id: str
    sent_ms: int

    @property
    def data(self) -> dict[str, Any]:
        """What is told of it besides the event."""
        return {"ts": self.sent_ms} | ({"thread_id": self.thread_id} if self.thread_id else {})


def is_later(before: int | None, now: int | None) -> bool:
    """Whether a receipt for an event at position `now` replaces one at position `before`: a receipt never moves backwards.

    None: an event that we do not have. It may be newer than all that we have, so it counts as later, and so does what comes
    after it.
    """
    return before is None or now is None or now > before


def is_thread_id(thread_id: object) -> bool:
    """Whether a receipt can name this as its thread."""
    return thread_id == MAIN or is_valid_event_id(thread_id)


def parse_thread_id(thread_id: object) -> str:
    """What a client gives as the thread of a receipt. Raises M_INVALID_PARAM."""
    if not isinstance(thread_id, str) or not thread_id:
        raise invalid_param("thread_id field must be a non-empty string")
    if not is_thread_id(thread_id):
        raise invalid_param(
            f"{thread_id[:255]!r} is neither `main` nor the event ID of a thread root - at `$.thread_id`"
        )
    return thread_id


def receipt_events(receipts: Iterable[Read]) -> list[dict[str, Any]]:
    """The m.receipt events for clients, of the receipts of one room: one for each thread, in the order of the threads' last ones.

    "For efficiency, receipts SHOULD be batched into one event per room and thread before delivering them to clients."
    """
    threads: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for receipt in receipts:
        content = threads.pop(receipt.thread_id, {})
        threads[receipt.thread_id] = content
        users = content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})
        users[receipt.user_id] = receipt.data
    return [{"type": RECEIPT, "content": content} for content in threads.values()]


def receipt_edus(receipts: Iterable[Read]) -> list[dict[str, Any]]:
    """The contents of the EDUs that tell other servers of receipts: as few as can hold one receipt for each user.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#receipts
    """
    edus: list[dict[str, Any]] = []
    for receipt in receipts:
        told = {"event_ids": [receipt.event_id], "data": receipt.data}
        for edu in edus:
            users = edu.setdefault(receipt.room_id, {}).setdefault(receipt.type, {})
            if receipt.user_id not in users:
                users[receipt.user_id] = told
                break
        else:
            edus.append({receipt.room_id: {receipt.type: {receipt.user_id: told}}})
    return edus


def read_receipt_edu(origin: str, content: Mapping[str, Any], limit: int) -> list[Read]:
    """What is well-formed among the receipts of an EDU, of users of the server `origin` alone; at most `limit`.

    "Currently only a single <receipt_type> should be used: m.read."
    """
    found: list[Read] = []
    for room_id, by_type in content.items():
        users = by_type.get(READ) if isinstance(by_type, Mapping) else None
        if not is_valid_room_id(room_id) or not isinstance(users, Mapping):
            continue
        for user_id, told in users.items():
            receipt = _read_receipt(origin, room_id, user_id, told)
            if receipt is not None:
                found.append(receipt)
            if len(found) == limit:
                return found
    return found


def _read_receipt(origin: str, room_id: str, user_id: str, told: Any) -> Read | None:
    if not is_valid_user_id(user_id) or user_id.partition(":")[2] != origin or not isinstance(told, Mapping):
        return None
    event_ids, data = told.get("event_ids"), told.get("data")
    if not isinstance(event_ids, list) or len(event_ids) != 1 or not is_valid_event_id(event_ids[0]):
        return None
    if not isinstance(data, Mapping):
        return None
    sent_ms = data.get("ts")
    if not isinstance(sent_ms, int) or isinstance(sent_ms, bool) or not 0 <= sent_ms <= MAX_INTEGER:
        return None
    if "thread_id" in data and not is_thread_id(data["thread_id"]):
        return None
    return Read(room_id, user_id, READ, data.get("thread_id", UNTHREADED), event_ids[0], sent_ms)
