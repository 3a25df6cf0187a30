"""Sending notices to users.

The protocol: https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.server_notices import Notice, ServerNotices

PATH = "/_synapse/admin/v1/send_server_notice"


class NoticeBody(Struct):
    """An event for a user's server notices room."""

    user_id: str
    content: dict[str, Any]
    type: str = "m.room.message"
    state_key: str | None = None

    def notice(self) -> Notice:
        """What is sent to whom."""
        return Notice(self.user_id, self.type, self.content, self.state_key)


@endpoint("POST", PATH, auth=ACCESS_TOKEN)
async def send_server_notice(request: Request, body: NoticeBody, notices: ServerNotices) -> dict[str, Any]:
    """Send a notice.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
    """
    return {"event_id": await notices.send(request.requester, body.notice())}


@endpoint("PUT", PATH + "/{transaction_id}", auth=ACCESS_TOKEN)
async def send_server_notice_once(
    request: Request, transaction_id: str, body: NoticeBody, notices: ServerNotices
) -> dict[str, Any]:
    """Send a notice; the same transaction ID again sends nothing.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
    """
    return {"event_id": await notices.send(request.requester, body.notice(), transaction_id)}
