"""The server's own doctor: when another server does not accept our signature, why that may be, as the doctor sees it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from homeserver.doctor.examination import Examination

log = logging.getLogger(__name__)

LASTS_S = 3_600.0
MOST_TOLD = 2
GENERAL = (
    "it could not verify this server's signature, most likely because it cannot fetch this server's keys: "
    "`python -m homeserver doctor` says whether others can reach them"
)


class SelfDoctor:
    """Examines this server at most once an hour, in the background, when there is a reason to."""

    def __init__(
        self, examine: Callable[[], Awaitable[Examination]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`examine` examines this server; `clock`: seconds."""
        self._examine = examine
        self._clock = clock
        self._examined_at: float | None = None
        self._problems: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def trouble(self) -> str:
        """What to tell of a 401: what the doctor has found lately, or where to look while it has not."""
        if self._task is None and (self._examined_at is None or self._clock() - self._examined_at > LASTS_S):
            self._task = asyncio.create_task(self._look())
        if not self._problems:
            return GENERAL
        return f"it could not verify this server's signature. The doctor finds: {'; '.join(self._problems[:MOST_TOLD])}"

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        try:
            examination = await self._examine()
            self._problems = [
                f"{each.looked_at}: {each.found} ({each.remedy})"
                for each in examination.problems
                if each in examination.federation_findings
            ]
            for problem in self._problems:
                log.warning("Another server does not accept our signature. The doctor finds: %s", problem)
            if not self._problems:
                log.warning(
                    "Another server does not accept our signature, and the doctor finds nothing wrong here"
                )
        finally:
            self._examined_at = self._clock()
            self._task = None
