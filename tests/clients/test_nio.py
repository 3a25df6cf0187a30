"""matrix-nio drives our server through everything the client API of a room is for."""

from pathlib import Path

import pytest

from tests.support.our_server import OurServer

from .conftest import BOTH_DATABASES
from .programs import ENVIRONMENTS, run

PYTHON = ENVIRONMENTS / "nio" / "bin" / "python"
REPOSITORY = Path(__file__).resolve().parents[2]


@BOTH_DATABASES
async def test_two_people_with_nio(ours: OurServer) -> None:
    if not PYTHON.exists():
        pytest.skip("there is no matrix-nio in .test-env/nio: scripts/test makes it")
    command = [str(PYTHON), "-m", "tests.clients.nio_journey", ours.site.client_url, ours.server_name]
    await run(command, directory=REPOSITORY)
