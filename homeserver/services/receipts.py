"""How far our users have read rooms: receipts and the read marker.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.receipts import (
    FULLY_READ,
    READ,
    READ_PRIVATE,
    UNTHREADED,
    Read,
    is_later,
)
from homeserver.core.requester import Requester
from homeserver.services.account_data import store
from homeserver.services.clock import Clock
from homeserver.services.event_access import joined_room
from homeserver.services.notifier import Committed
from homeserver.services.receipt_sender import ReceiptSender
from homeserver.services.threads import thread_place
from homeserver.services.user_writes import UserWrites
from homeserver.storage import account_data, memberships, notifications, positions
from homeserver.storage import events as stored_events
from homeserver.storage import receipts as stored_receipts
from homeserver.storage.database import Transaction
from homeserver.storage.events import EventStatus, StoredEvent
from homeserver.storage.receipts import StoredReceipt
from homeserver.storage.rooms import Room

RECEIPT_TYPES: Final = (READ, READ_PRIVATE)


class Receipts:
    """Takes receipts and read markers of our users, and sends the public ones to the other servers in the room."""

    def __init__(self, writes: UserWrites, sender: ReceiptSender, server_name: str, clock: Clock) -> None:
        self._writes = writes
        self._sender = sender
        self._server_name = server_name
        self._clock = clock

    async def post(
        self,
        requester: Requester,
        room_id: str,
        receipt_type: str,
        event_id: str,
        thread_id: str = UNTHREADED,
    ) -> None:
        """The requester has read the room, or a thread of it, up to an event.

        Raises M_FORBIDDEN for a room that the requester is not in, M_NOT_FOUND for an event that the room does not have, and
        M_INVALID_PARAM for another receipt type or a thread that the event is not in.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
        """
        if receipt_type not in (*RECEIPT_TYPES, FULLY_READ):
            raise invalid_param(
                f"Receipts are of type {READ}, {READ_PRIVATE} or {FULLY_READ}, not {receipt_type[:100]!r}"
            )
        if receipt_type == FULLY_READ and thread_id != UNTHREADED:
            raise invalid_param(f"{FULLY_READ} is of the whole room: it has no thread_id")
        await self._set(requester.user_id, room_id, {receipt_type: event_id}, thread_id)

    async def set_markers(self, requester: Requester, room_id: str, markers: Mapping[str, str]) -> None:
        """Set the read marker and receipts, event IDs by type; all of them or, when one is refused, none.

        Raises M_FORBIDDEN for a room that the requester is not in, M_NOT_FOUND for an event that the room does not have.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
        """
        await self._set(requester.user_id, room_id, markers, UNTHREADED)

    async def _set(self, user_id: str, room_id: str, markers: Mapping[str, str], thread_id: str) -> None:
        now = self._clock()

        async def work(tx: Transaction) -> tuple[tuple[Read | None, Sequence[str]], Committed | None]:
            room = await joined_room(tx, room_id, user_id)
            events = {kind: await _event(tx, room, event_id) for kind, event_id in markers.items()}
            offered = []
            for kind in RECEIPT_TYPES:
                if kind in events:
                    await _check_thread(tx, events[kind], thread_id)
                    event_id = events[kind].event.event_id
                    read = Read(room_id, user_id, kind, thread_id, event_id, now)
                    offered.append((read, events[kind].position))
            kept = await keep_later(tx, room, offered)
            committed = await _move_marker(tx, room, user_id, events.get(FULLY_READ))
            public = next((stored.read for stored in kept if stored.read.type == READ), None)
            servers = await memberships.joined_servers(tx, room.room_nid) if public else []
            if kept:
                committed = Committed(
                    max(stored.position for stored in kept),
                    frozenset({room_id}) if public else frozenset(),
                    frozenset() if public else frozenset({user_id}),
                    read=frozenset({user_id}) if await _mark_read(tx, kept) else frozenset(),
                    actors=frozenset({user_id}),
                )
            return (public, servers), committed

        public, servers = await self._writes.run(work)
        if public is not None:
            others = [server for server in servers if server != self._server_name]
            self._sender.send(public, others)


async def keep_later(
    tx: Transaction, room: Room, offered: Sequence[tuple[Read, int | None]]
) -> list[StoredReceipt]:
    """Keep those receipts of a room, each with the position of its event, that move forward; returns them as they are kept."""
    if not offered:
        return []
    before = {
        (stored.read.user_id, stored.read.type, stored.read.thread_id): stored
        for stored in await stored_receipts.of_users(
            tx, room.room_nid, {read.user_id for read, _ in offered}, {read.thread_id for read, _ in offered}
        )
    }
    late = [stored.read.event_id for stored in before.values() if stored.event_position is None]
    come = await stored_events.known(tx, late)
    kept: dict[tuple[str, str, str], StoredReceipt] = {}
    for read, event_position in offered:
        key = (read.user_id, read.type, read.thread_id)
        old = kept.get(key) or before.get(key)
        if old is not None:
            old_position = old.event_position
            if old_position is None and old.read.event_id in come:
                old_position = come[old.read.event_id].position
            if old.read.event_id == read.event_id or not is_later(old_position, event_position):
                continue
        kept[key] = StoredReceipt(read, room.room_nid, event_position, 0)
    if not kept:
        return []
    position = await positions.take(tx)
    placed = [replace(stored, position=position) for stored in kept.values()]
    await stored_receipts.put_many(tx, placed)
    return placed


async def _mark_read(tx: Transaction, kept: Sequence[StoredReceipt]) -> bool:
    """Mark as read what receipts of ours have reached; False when that was so already."""
    moved = False
    for stored in kept:
        if stored.event_position is not None:
            moved |= await notifications.mark_read(
                tx,
                stored.read.user_id,
                stored.room_nid,
                stored.read.thread_id,
                stored.event_position,
                stored.position,
            )
    return moved


async def _event(tx: Transaction, room: Room, event_id: str) -> StoredEvent:
    stored = await stored_events.get(tx, event_id)
    if (
        stored is None
        or stored.room_nid != room.room_nid
        or stored.status is not EventStatus.ACCEPTED
        or stored.is_outlier
    ):
        raise not_found(f"The room has no event {event_id[:255]!r}")
    return stored


async def _check_thread(tx: Transaction, stored: StoredEvent, thread_id: str) -> None:
    """Raises M_INVALID_PARAM for a thread that the event is not in.

    A thread's root and what relates to it are in the main timeline, and may be read in the thread as well, where clients show
    them too.
    """
    event_id = stored.event.event_id
    if thread_id in (UNTHREADED, event_id):
        return
    place = await thread_place(tx, stored)
    if thread_id == place.thread_id or thread_id in place.related_to:
        return
    raise invalid_param(f"The event {event_id} is not in the thread {thread_id}")


async def _move_marker(
    tx: Transaction, room: Room, user_id: str, event: StoredEvent | None
) -> Committed | None:
    """Move the read marker of a room forward; None when it stays where it is."""
    if event is None:
        return None
    stored = await account_data.get(tx, user_id, room.room_id, FULLY_READ)
    before = json.loads(stored).get("event_id") if stored is not None else None
    known = (await stored_events.known(tx, [before])).get(before) if isinstance(before, str) else None
    if known is not None and not is_later(known.position, event.position):
        return None
    return await store(tx, user_id, room.room_id, FULLY_READ, {"event_id": event.event.event_id})
