"""Sends our users' public receipts to the other servers in their rooms.

A receipt in a room of a thousand servers is a thousand requests, and everybody there reads. So the first goes out at once, and
those that come meanwhile are sent together, after as long as the room's size makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.core.receipts import RECEIPT, Read, receipt_edus
from homeserver.services.sender import Sender


@dataclass(slots=True)
class _Room:
    """A room in which a receipt was sent lately. waiting: by user and thread; servers: who gets them."""

    timer: asyncio.TimerHandle
    waiting: dict[tuple[str, str], Read] = field(default_factory=dict)
    servers: Sequence[str] = ()


class ReceiptSender:
    """Holds back what is too much."""

    def __init__(self, sender: Sender, transactions_per_second: float) -> None:
        """`transactions_per_second`: how many requests the receipts of one room may cause."""
        self._sender = sender
        self._rate = max(transactions_per_second, 0.001)
        self._rooms: dict[str, _Room] = {}

    def send(self, read: Read, servers: Sequence[str]) -> None:
        """Send a receipt to servers, now or soon; it overtakes one of the same user and thread that waits."""
        if not servers:
            return
        room = self._rooms.get(read.room_id)
        if room is None:
            self._send([read], servers)
            self._rooms[read.room_id] = _Room(self._later(read.room_id, servers))
        else:
            room.waiting[read.user_id, read.thread_id] = read
            room.servers = servers

    def stop(self) -> None:
        """Send what waits, and hold back nothing more."""
        for room in self._rooms.values():
            room.timer.cancel()
            self._send(list(room.waiting.values()), room.servers)
        self._rooms.clear()

    def _later(self, room_id: str, servers: Sequence[str]) -> asyncio.TimerHandle:
        delay = len(servers) / self._rate
        return asyncio.get_running_loop().call_later(delay, self._send_waiting, room_id)

    def _send_waiting(self, room_id: str) -> None:
        room = self._rooms.pop(room_id)
        if room.waiting:
            self._send(list(room.waiting.values()), room.servers)
            self._rooms[room_id] = _Room(self._later(room_id, room.servers))

    def _send(self, reads: Sequence[Read], servers: Sequence[str]) -> None:
        for content in receipt_edus(reads):
            self._sender.queue_edu(servers, RECEIPT, content)
