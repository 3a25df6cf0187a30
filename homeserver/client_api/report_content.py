"""Reporting rooms, events and users to the operators of the server.

Spec: https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.reports import Reports


class ReportBody(Struct):
    """Why a room or a user is reported; the reason may be blank."""

    reason: str


class EventReportBody(Struct):
    """Why an event is reported. score: what clients said before v1.18, from -100 (the worst) to 0."""

    reason: str | None = None
    score: Annotated[int, Meta(ge=-(2**53), le=2**53)] | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/report",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/unstable/org.matrix.msc4151/rooms/{room_id}/report",),
    limit="rc_reports",
)
async def report_room(request: Request, room_id: str, body: ReportBody, reports: Reports) -> dict[str, Any]:
    """Report a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
    """
    await reports.room(request.requester, room_id, body.reason)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/report/{event_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/report/{event_id}",),
    limit="rc_reports",
)
async def report_event(
    request: Request, room_id: str, event_id: str, body: EventReportBody, reports: Reports
) -> dict[str, Any]:
    """Report an event.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
    """
    await reports.event(request.requester, room_id, event_id, body.reason or "", body.score)
    return {}


@endpoint("POST", "/_matrix/client/v3/users/{user_id}/report", auth=ACCESS_TOKEN, limit="rc_reports")
async def report_user(request: Request, user_id: str, body: ReportBody, reports: Reports) -> dict[str, Any]:
    """Report a user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
    """
    await reports.user(request.requester, user_id, body.reason)
    return {}
