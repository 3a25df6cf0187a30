"""The time, as services are given it; tests pass a clock of their own."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Answers the time in ms since 1970."""


def now_ms() -> int:
    """The machine's time in ms since 1970."""
    return time.time_ns() // 1_000_000
