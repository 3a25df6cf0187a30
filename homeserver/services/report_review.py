"""Reports, as the operators read them.

The form is Synapse's: https://element-hq.github.io/synapse/latest/admin_api/event_reports.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeserver.core.errors import MatrixError, not_found
from homeserver.core.events import Event, StateKey
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import reports, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.reports import Report, ReportQuery, Subject

__all__ = ["ReportQuery", "ReportReview", "Subject"]

NAME: StateKey = ("m.room.name", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")


class ReportReview:
    """Lists reports, shows them with what they are about, and deletes them."""

    def __init__(self, database: Database, states: RoomStates) -> None:
        self._database = database
        self._states = states

    async def page(self, query: ReportQuery) -> tuple[list[dict[str, Any]], int]:
        """The reports that are asked for, and how many there are in all."""

        async def work(tx: Transaction) -> tuple[list[dict[str, Any]], int]:
            found, total = await reports.page(tx, query)
            return await self._described(tx, found), total

        return await self._database.read(work)

    async def get(self, subject: Subject, report_id: int) -> dict[str, Any]:
        """One report; that of an event with the event, if it is still here. Raises M_NOT_FOUND."""

        async def work(tx: Transaction) -> dict[str, Any]:
            report = await reports.get(tx, subject, report_id)
            if report is None:
                raise _no_such_report(subject)
            body = (await self._described(tx, [report]))[0]
            if report.event_id is not None:
                stored = await stored_events.get(tx, report.event_id)
                body["event_json"] = stored.event.pdu if stored else None
            return body

        return await self._database.read(work)

    async def remove(self, subject: Subject, report_id: int) -> None:
        """Delete a report. Raises M_NOT_FOUND."""
        if not await self._database.write(lambda tx: reports.remove(tx, subject, report_id)):
            raise _no_such_report(subject)

    async def _described(self, tx: Transaction, found: Sequence[Report]) -> list[dict[str, Any]]:
        known = await rooms.get_many(tx, {report.room_id for report in found if report.room_id})
        named: dict[str, dict[StateKey, Event]] = {
            room_id: await self._states.events(tx, room.current_state, [NAME, ALIAS])
            for room_id, room in known.items()
        }
        return [_body(report, named.get(report.room_id or "", {})) for report in found]


def _no_such_report(subject: Subject) -> MatrixError:
    return not_found("Event report not found" if subject == "event" else "Report not found")


def _body(report: Report, state: dict[StateKey, Event]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": report.report_id,
        "received_ts": report.received_ms,
        "user_id": report.user_id,
        "reason": report.reason,
    }
    if report.room_id is not None:
        body["room_id"] = report.room_id
        body["name"] = state[NAME].content.get("name") if NAME in state else None
        body["canonical_alias"] = state[ALIAS].content.get("alias") if ALIAS in state else None
    if report.subject == "event":
        body |= {"event_id": report.event_id, "sender": report.target_user_id, "score": report.score}
    if report.subject == "user":
        body["target_user_id"] = report.target_user_id
    return body
