"""A test that hangs says where."""

from __future__ import annotations

import subprocess
import sys

HANGING = """
import asyncio
from tests.support.hanging import ended_if_it_hangs

async def inner():
    await asyncio.Event().wait()

async def outer():
    await inner()

with ended_if_it_hangs("tests/test_x.py::test_y", patience_s=0.5):
    asyncio.run(outer())
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_what_hangs_ends_and_says_where() -> None:
    ended = run(HANGING)
    assert ended.returncode == 1
    assert "tests/test_x.py::test_y hangs: it has not ended after 0.5 s" in ended.stderr
    assert ended.stderr.index("in outer") < ended.stderr.index("in inner") < ended.stderr.index("in wait")
    assert "thread MainThread\n" in ended.stderr


def test_what_ends_is_left_alone() -> None:
    ended = run(HANGING.replace("asyncio.Event().wait()", "asyncio.sleep(0)"))
    assert (ended.returncode, ended.stderr) == (0, "")
