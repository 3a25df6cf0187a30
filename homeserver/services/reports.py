"""What users report to the operators of this server.

Spec: https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from __future__ import annotations

import logging

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.identifiers import is_valid_room_id, is_valid_user_id
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.room_reads import visible_event
from homeserver.services.room_state import RoomStates
from homeserver.storage import accounts, memberships, out_of_room, reports, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.reports import Report

log = logging.getLogger(__name__)

MAX_REASON_LENGTH = 10_000
"""In characters: who reports has much to say, and the tables have limits all the same."""


class Reports:
    """Takes reports of rooms, events and users."""

    def __init__(self, database: Database, states: RoomStates, identity: Identity, clock: Clock) -> None:
        self._database = database
        self._states = states
        self._identity = identity
        self._clock = clock

    async def room(self, requester: Requester, room_id: str, reason: str) -> None:
        """Report a room, whether or not one is in it. Raises M_NOT_FOUND for a room that is not known here, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
        """
        report = Report("room", self._clock(), requester.user_id, _checked(reason), room_id=room_id)

        async def work(tx: Transaction) -> int:
            is_known = is_valid_room_id(room_id) and (
                await rooms.get(tx, room_id) is not None
                or await out_of_room.get(tx, requester.user_id, room_id) is not None
            )
            if not is_known:
                raise not_found("The room was not found.")
            return await reports.add(tx, report)

        self._tell(report, await self._database.write(work))

    async def event(
        self, requester: Requester, room_id: str, event_id: str, reason: str, score: int | None
    ) -> None:
        """Report an event that one sees in a room that one is in. Raises M_NOT_FOUND, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
        """
        reason = _checked(reason)

        async def work(tx: Transaction) -> tuple[Report, int]:
            room = await rooms.get(tx, room_id)
            mine = await memberships.get(tx, room.room_nid, requester.user_id) if room else None
            # "servers MUST verify that the reporting user is currently joined to the room the event is in"
            if mine is None or mine.membership != "join":
                raise not_found("The event was not found or you are not joined to the room.")
            seen = await visible_event(tx, self._states, requester.user_id, room_id, event_id)
            report = Report(
                "event",
                self._clock(),
                requester.user_id,
                reason,
                room_id,
                event_id,
                seen.stored.event.sender,
                score,
            )
            return report, await reports.add(tx, report)

        self._tell(*await self._database.write(work))

    async def user(self, requester: Requester, user_id: str, reason: str) -> None:
        """Report a user. Raises M_NOT_FOUND for a user of ours that there is not, M_INVALID_PARAM.

        Users of other servers are taken as they come: what is known of them here is no measure of what they did.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
        """
        if not is_valid_user_id(user_id):
            raise not_found("The user was not found.")
        report = Report("user", self._clock(), requester.user_id, _checked(reason), target_user_id=user_id)

        async def work(tx: Transaction) -> int:
            if self._identity.is_ours(user_id) and await accounts.get(tx, user_id) is None:
                raise not_found("The user was not found.")
            return await reports.add(tx, report)

        self._tell(report, await self._database.write(work))

    def _tell(self, report: Report, report_id: int) -> None:
        what = report.event_id or report.room_id or report.target_user_id
        log.warning("report %d: %s reports the %s %s", report_id, report.user_id, report.subject, what)


def _checked(reason: str) -> str:
    if len(reason) > MAX_REASON_LENGTH:
        raise invalid_param(f"A reason has at most {MAX_REASON_LENGTH} characters")
    return reason.replace("\0", "")
