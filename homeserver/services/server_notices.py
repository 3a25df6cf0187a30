"""What administrators have this server tell its users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-notices
The form is Synapse's: https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import not_found, unknown
from homeserver.core.requester import Requester
from homeserver.services.identity import Identity
from homeserver.services.notice_rooms import NoticeRooms
from homeserver.services.room_sending import client_transaction
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import accounts
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent to whom."""

    user_id: str
    type: str
    content: Mapping[str, Any]
    state_key: str | None = None


class ServerNotices:
    """Sends notices."""

    def __init__(
        self, database: Database, timeline: Timeline, rooms: NoticeRooms | None, identity: Identity
    ) -> None:
        """`rooms`: None where there are no server notices."""
        self._database = database
        self._timeline = timeline
        self._rooms = rooms
        self._identity = identity

    async def send(self, requester: Requester, notice: Notice, transaction_id: str | None = None) -> str:
        """Send a notice; returns the event ID. The same transaction again returns the same ID.

        Raises M_FORBIDDEN for who is no administrator, M_UNKNOWN (400) where there are no notices and for users of other servers,
        M_NOT_FOUND, M_INVITE_BLOCKED for users who want no invites; what sending an event raises.
        """
        requester.check_is_admin()
        if self._rooms is None:
            raise unknown("Server notices are not enabled on this server", 400)
        if not self._identity.is_ours(notice.user_id):
            raise unknown("Server notices can only be sent to local users", 400)
        transaction = (
            client_transaction(requester, "send_server_notice", transaction_id)
            if transaction_id is not None
            else None
        )
        account = await self._database.read(lambda tx: accounts.get(tx, notice.user_id))
        if account is None or account.is_deactivated:
            raise not_found("User not found")
        if notice.user_id == self._rooms.sender:
            raise unknown("Notices are not sent to their sender", 400)
        room_id = await self._rooms.room_for(notice.user_id)
        draft = Draft(self._rooms.sender, notice.type, notice.content, notice.state_key)
        return await self._timeline.send(room_id, draft, transaction=transaction)
