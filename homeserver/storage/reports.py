"""Reports of rooms, events and users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homeserver.storage.database import Row, Transaction

Subject = Literal["room", "event", "user"]


@dataclass(frozen=True, slots=True)
class Report:
    """One report. user_id: who reports. target_user_id: who is reported, or sent the event. report_id: None until it is stored."""

    subject: Subject
    received_ms: int
    user_id: str
    reason: str
    room_id: str | None = None
    event_id: str | None = None
    target_user_id: str | None = None
    score: int | None = None
    report_id: int | None = None


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """Which reports, and which part of the list. The texts are looked for anywhere in the IDs."""

    subject: Subject
    offset: int = 0
    limit: int = 100
    newest_first: bool = True
    user_id: str | None = None
    room_id: str | None = None
    target_user_id: str | None = None


_COLUMNS = "subject, received_ms, user_id, reason, room_id, event_id, target_user_id, score, report_id"
_LIKE = " AND {column} LIKE ${number} ESCAPE '\\'"


def _report(row: Row) -> Report:
    return Report(*(row[index] for index in range(9)))


async def add(tx: Transaction, report: Report) -> int:
    """Keep a report; returns its number."""
    return int(
        await tx.fetch_value(
            "INSERT INTO reports (subject, received_ms, user_id, reason, room_id, event_id, target_user_id, score)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING report_id",
            report.subject,
            report.received_ms,
            report.user_id,
            report.reason,
            report.room_id,
            report.event_id,
            report.target_user_id,
            report.score,
        )
    )


async def get(tx: Transaction, subject: Subject, report_id: int) -> Report | None:
    """A report by its number."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS} FROM reports WHERE report_id = $1 AND subject = $2", report_id, subject
    )
    return _report(row) if row else None


async def remove(tx: Transaction, subject: Subject, report_id: int) -> bool:
    """Delete a report; False when there is none."""
    gone = await tx.execute("DELETE FROM reports WHERE report_id = $1 AND subject = $2", report_id, subject)
    return gone == 1


async def page(tx: Transaction, query: ReportQuery) -> tuple[list[Report], int]:
    """Reports in the order of their arrival, and how many there are in all."""
    where = "WHERE subject = $1"
    values: list[str] = [query.subject]
    for column, text in (
        ("user_id", query.user_id),
        ("room_id", query.room_id),
        ("target_user_id", query.target_user_id),
    ):
        if text is not None:
            values.append(f"%{_escaped(text)}%")
            where += _LIKE.format(column=column, number=len(values))
    total = int(await tx.fetch_value(f"SELECT COUNT(*) FROM reports {where}", *values))
    order = "DESC" if query.newest_first else "ASC"
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM reports {where} ORDER BY report_id {order}"
        f" LIMIT ${len(values) + 1} OFFSET ${len(values) + 2}",
        *values,
        query.limit,
        query.offset,
    )
    return [_report(row) for row in rows], total


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
