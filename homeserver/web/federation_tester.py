"""The federation tester, where `federation_tester: true`: a page, a report as JSON, and one word for scripts.

The report has the shape of the well-known federation tester's, so that what reads one reads the other.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.doctor import as_report
from homeserver.doctor.tester import FederationTester
from homeserver.http import NO_AUTH, Response, endpoint
from homeserver.web.pages import page


class ReportQuery(Struct):
    """Which server to look at."""

    server_name: str


class PageQuery(Struct):
    """Which server to look at; nothing: show where to ask."""

    server_name: str = ""


@endpoint("GET", "/api/report", auth=NO_AUTH, limit="rc_federation_tester")
async def report(query: ReportQuery, tester: FederationTester) -> dict[str, Any]:
    """All that was seen of a server, and what to do."""
    return as_report(await tester.examine(query.server_name))


@endpoint("GET", "/api/federation-ok", auth=NO_AUTH, limit="rc_federation_tester")
async def federation_ok(query: ReportQuery, tester: FederationTester) -> Response:
    """GOOD or BAD."""
    examination = await tester.examine(query.server_name)
    word = b"GOOD" if examination.federation_ok else b"BAD"
    return Response(200, word, {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"})


@endpoint("GET", "/federation-tester", auth=NO_AUTH, limit="rc_federation_tester")
async def tester_page(query: PageQuery, tester: FederationTester) -> Response:
    """A page for people."""
    tester.check_enabled()
    examination = await tester.examine(query.server_name.strip()) if query.server_name.strip() else None
    return page("federation_tester.html", server_name=query.server_name, examination=examination)
