"""Our server as a process, in the harness: it starts, remembers, and ends in time."""

import signal
import time

from tests.support.network import network
from tests.support.our_server import OurServer


async def test_it_starts_remembers_its_users_and_ends_when_told() -> None:
    async with network() as net, OurServer(net, "ours.test") as ours:
        alice = await ours.register("alice", admin=True)
        assert alice.user_id == "@alice:ours.test"

        before = time.monotonic()
        await ours.stop()
        assert time.monotonic() - before < 2
        assert ours.process.exit_code in (0, -signal.SIGTERM)

        await ours.start()
        assert (await alice.request("GET", "account", "whoami"))["user_id"] == "@alice:ours.test"

        await ours.kill()
        await ours.start()
        assert (await alice.request("GET", "account", "whoami"))["user_id"] == "@alice:ours.test"
        assert "Traceback" not in ours.log()
        assert ours.memory() > 0
