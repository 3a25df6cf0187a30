"""matrix-js-sdk, the library of Element, drives our server through everything the client API of a room is for."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.our_server import OurServer

from .conftest import BOTH_DATABASES
from .programs import ENVIRONMENTS, run

JOURNEY = Path(__file__).parent / "js" / "journey.mjs"

# What the SDK asks for and this server does not serve yet.
UNRECOGNIZED: list[str] = []


@BOTH_DATABASES
async def test_two_people_with_js_sdk(ours: OurServer) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js (Debian's nodejs and npm)")
    if not (ENVIRONMENTS / "js" / "node_modules").exists():
        pytest.skip("there is no matrix-js-sdk in .test-env/js: scripts/test makes it")
    printed = await run(["node", str(JOURNEY), ours.site.client_url, ours.server_name])
    assert json.loads(printed.splitlines()[-1]) == UNRECOGNIZED
