"""Reading and deleting what users have reported.

The protocol: https://element-hq.github.io/synapse/latest/admin_api/event_reports.html
Rooms and users that were reported are listed in the same way.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from homeserver.core.errors import invalid_param
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.report_review import ReportQuery, ReportReview, Subject

EVENTS = "/_synapse/admin/v1/event_reports"
ROOMS = "/_synapse/admin/v1/room_reports"
USERS = "/_synapse/admin/v1/user_reports"

MAX_LIMIT = 1000
MAX_NUMBER = 2**53


class PageQuery(Struct):
    """Which part of the list, and which reports: by parts of the IDs. direction: `b` for the newest first."""

    start: Annotated[int, Meta(ge=0, le=MAX_NUMBER)] = field(name="from", default=0)
    limit: Annotated[int, Meta(ge=0, le=MAX_NUMBER)] = 100
    direction: Literal["b", "f"] = field(name="dir", default="b")
    user_id: str | None = None
    room_id: str | None = None
    event_sender_user_id: str | None = None
    target_user_id: str | None = None


async def _page(request: Request, subject: Subject, query: PageQuery, review: ReportReview) -> dict[str, Any]:
    request.requester.check_is_admin()
    limit = min(query.limit, MAX_LIMIT)
    target = query.event_sender_user_id or query.target_user_id
    wanted = ReportQuery(
        subject, query.start, limit, query.direction == "b", query.user_id, query.room_id, target
    )
    found, total = await review.page(wanted)
    answer: dict[str, Any] = {f"{subject}_reports": found, "total": total}
    if query.start + limit < total:
        answer["next_token"] = query.start + len(found)
    return answer


def _number(report_id: str) -> int:
    if not (report_id.isascii() and report_id.isdigit() and int(report_id) <= MAX_NUMBER):
        raise invalid_param("The report_id parameter must be a string representing a positive integer.")
    return int(report_id)


@endpoint("GET", EVENTS, auth=ACCESS_TOKEN)
async def list_event_reports(request: Request, query: PageQuery, review: ReportReview) -> dict[str, Any]:
    """The reports of events.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/event_reports.html#show-reported-events
    """
    return await _page(request, "event", query, review)


@endpoint("GET", EVENTS + "/{report_id}", auth=ACCESS_TOKEN)
async def get_event_report(request: Request, report_id: str, review: ReportReview) -> dict[str, Any]:
    """One report of an event, with the event.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/event_reports.html#show-details-of-a-specific-event-report
    """
    request.requester.check_is_admin()
    return await review.get("event", _number(report_id))


@endpoint("DELETE", EVENTS + "/{report_id}", auth=ACCESS_TOKEN)
async def delete_event_report(request: Request, report_id: str, review: ReportReview) -> dict[str, Any]:
    """Delete a report of an event.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/event_reports.html#delete-a-specific-event-report
    """
    request.requester.check_is_admin()
    await review.remove("event", _number(report_id))
    return {}


@endpoint("GET", ROOMS, auth=ACCESS_TOKEN)
async def list_room_reports(request: Request, query: PageQuery, review: ReportReview) -> dict[str, Any]:
    """The reports of rooms."""
    return await _page(request, "room", query, review)


@endpoint("DELETE", ROOMS + "/{report_id}", auth=ACCESS_TOKEN)
async def delete_room_report(request: Request, report_id: str, review: ReportReview) -> dict[str, Any]:
    """Delete a report of a room."""
    request.requester.check_is_admin()
    await review.remove("room", _number(report_id))
    return {}


@endpoint("GET", USERS, auth=ACCESS_TOKEN)
async def list_user_reports(request: Request, query: PageQuery, review: ReportReview) -> dict[str, Any]:
    """The reports of users."""
    return await _page(request, "user", query, review)


@endpoint("DELETE", USERS + "/{report_id}", auth=ACCESS_TOKEN)
async def delete_user_report(request: Request, report_id: str, review: ReportReview) -> dict[str, Any]:
    """Delete a report of a user."""
    request.requester.check_is_admin()
    await review.remove("user", _number(report_id))
    return {}
