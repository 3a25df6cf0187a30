"""Processes that do not outlive their test."""

from collections.abc import Iterator

import pytest

from .process import Process


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
