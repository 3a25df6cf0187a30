"""The doctor for everybody: examines any server of the Internet when asked over HTTP, within limits."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from homeserver.core.errors import invalid_param, limit_exceeded, unknown, unrecognized
from homeserver.core.identifiers import is_valid_server_name
from homeserver.doctor.examination import Examination, Examiner
from homeserver.doctor.probes import Probes, ProbeSettings

AT_ONCE = 4
MOST_WAITING = 20
MOST_SECONDS = 90.0
"""One examination: each step has its limit too, and a server may let us wait at every one."""
KEPT_SECONDS = 60.0
MOST_KEPT = 100


class FederationTester:
    """What `federation_tester: true` offers. Only addresses that this server's own federation may connect to are tried."""

    def __init__(
        self, settings: ProbeSettings, *, is_enabled: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock`: seconds, for how long an examination is answered with again."""
        self._settings = settings
        self._is_enabled = is_enabled
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, asyncio.Task[Examination]] = {}
        self._done: OrderedDict[str, tuple[float, Examination]] = OrderedDict()

    def check_enabled(self) -> None:
        """Raise 404 M_UNRECOGNIZED where nobody has switched it on."""
        if not self._is_enabled:
            raise unrecognized("This server offers no federation tester (federation_tester is off)")

    async def examine(self, server_name: str) -> Examination:
        """Examine a server; who asks for the same one within a minute shares the answer.

        Raises M_UNRECOGNIZED when it is switched off, M_INVALID_PARAM for what is no server name, M_LIMIT_EXCEEDED when very many
        wait, 504 M_UNKNOWN when the server lets us wait too long.
        """
        self.check_enabled()
        if not is_valid_server_name(server_name):
            raise invalid_param(
                f"{server_name[:300]!r} is not a server name, such as example.org or example.org:8449"
            )
        known = self._done.get(server_name)
        if known is not None and self._clock() - known[0] < KEPT_SECONDS:
            return known[1]
        task = self._running.get(server_name)
        if task is None:
            if len(self._running) >= MOST_WAITING:
                raise limit_exceeded("Too many servers are being examined; try again later", 5_000)
            task = self._running[server_name] = asyncio.create_task(self._examine(server_name))
            task.add_done_callback(lambda _: self._running.pop(server_name, None))
        return await asyncio.shield(task)

    async def _examine(self, server_name: str) -> Examination:
        async with self._slots:
            probes = Probes(self._settings)
            try:
                async with asyncio.timeout(MOST_SECONDS):
                    made = await Examiner(probes, self._settings.addresses).examine(server_name)
            except TimeoutError as error:
                raise unknown(f"{server_name} lets every step wait: it took too long", 504) from error
            finally:
                await probes.close()
        self._done[server_name] = (self._clock(), made)
        self._done.move_to_end(server_name)
        while len(self._done) > MOST_KEPT:
            self._done.popitem(last=False)
        return made

    async def stop(self) -> None:
        """End what runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
