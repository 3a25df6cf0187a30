"""matrix-nio drives our server through everything the client API of a room is for."""

from pathlib import Path

import pytest

from tests.support.network import network
from tests.support.our_server import OurServer

from .programs import ENVIRONMENTS, assert_untroubled, run

PYTHON = ENVIRONMENTS / "nio" / "bin" / "python"
JOURNEY = Path(__file__).with_name("nio_journey.py")


async def test_two_people_with_nio() -> None:
    if not PYTHON.exists():
        pytest.skip("there is no matrix-nio in .test-env/nio: scripts/test makes it")
    async with network() as net, OurServer(net, "ours.test") as ours:
        await run([str(PYTHON), str(JOURNEY), ours.site.client_url, ours.server_name])
        assert_untroubled(ours)
