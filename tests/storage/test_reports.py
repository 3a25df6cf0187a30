"""Reports, on both databases."""

from __future__ import annotations

from dataclasses import replace

from homeserver.storage import reports
from homeserver.storage.database import Database
from homeserver.storage.reports import Report, ReportQuery, Subject

EVENT = Report("event", 5, "@a_b:test", "rude", "!r:test", "$e", "@c:test", -7)
ROOM = Report("room", 6, "@d:test", "", "!r:test")
USER = Report("user", 7, "@d:test", "why", target_user_id="@%:test")


async def test_a_report_is_kept_until_it_is_deleted(database: Database) -> None:
    for report in (EVENT, ROOM, USER):
        number = await database.write(lambda tx, r=report: reports.add(tx, r))
        stored = replace(report, report_id=number)
        subject = report.subject
        assert await database.read(lambda tx, s=subject, n=number: reports.get(tx, s, n)) == stored
        wrong: Subject = "room" if subject == "user" else "user"
        assert await database.read(lambda tx, w=wrong, n=number: reports.get(tx, w, n)) is None
        assert not await database.write(lambda tx, w=wrong, n=number: reports.remove(tx, w, n))
        assert await database.write(lambda tx, s=subject, n=number: reports.remove(tx, s, n))
        assert not await database.write(lambda tx, s=subject, n=number: reports.remove(tx, s, n))


async def test_pages(database: Database) -> None:
    numbers = [await database.write(lambda tx: reports.add(tx, EVENT)) for _ in range(3)]
    other = replace(EVENT, user_id="@axb:test", room_id="!s:test", target_user_id="@%:test")
    numbers.append(await database.write(lambda tx: reports.add(tx, other)))
    await database.write(lambda tx: reports.add(tx, ROOM))

    async def page(query: ReportQuery) -> tuple[list[int], int]:
        found, total = await database.read(lambda tx: reports.page(tx, query))
        return [numbers.index(report.report_id or 0) for report in found], total

    assert await page(ReportQuery("event")) == ([3, 2, 1, 0], 4)
    assert await page(ReportQuery("event", newest_first=False, offset=1, limit=2)) == ([1, 2], 4)
    assert await page(ReportQuery("event", offset=9)) == ([], 4)
    assert await page(ReportQuery("event", user_id="a_b")) == ([2, 1, 0], 3)
    assert await page(ReportQuery("event", target_user_id="%")) == ([3], 1)
    assert await page(ReportQuery("event", room_id="\\")) == ([], 0)
    assert await page(ReportQuery("event", room_id="s", user_id="axb")) == ([3], 1)
