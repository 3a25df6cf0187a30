"""Receipts: how far users have read rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct

from homeserver.core.receipts import UNTHREADED, parse_thread_id
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.receipts import Receipts


class ReceiptBody(Struct):
    """thread_id: anything, because what is wrong with it has an error of its own."""

    thread_id: Any = UNSET


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/receipt/{receipt_type}/{event_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/receipt/{receipt_type}/{event_id}",),
)
async def post_receipt(
    request: Request, room_id: str, receipt_type: str, event_id: str, body: ReceiptBody, receipts: Receipts
) -> dict[str, Any]:
    """Tell how far one has read a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
    """
    thread_id = UNTHREADED if body.thread_id is UNSET else parse_thread_id(body.thread_id)
    await receipts.post(request.requester, room_id, receipt_type, event_id, thread_id)
    return {}
