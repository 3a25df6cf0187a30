"""A test that hangs ends its worker and tells where it waited, instead of keeping the whole run waiting."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PATIENCE_S = 300.0
"""Several times what the slowest test takes on a busy machine, its fixtures included."""

FRAMES = 10
"""How many of each thread's are shown: the outer ones are always the same."""


@contextmanager
def ended_if_it_hangs(name: str, told: int = 2, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """What is done within this ends the process when it takes too long; it then says where everything waited.

    told: the file descriptor where it says so. Nothing milder is of use: what hangs, hangs again while it is torn down.
    """
    timer = threading.Timer(patience_s, _end, [name, told, patience_s])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(name: str, told: int, patience_s: float) -> None:
    message = f"\n{name} hangs: it has not ended after {patience_s:g} s. Where everything waits:\n{waits()}\n"
    with os.fdopen(told, "w", errors="replace") as file:
        file.write(message)
    os._exit(1)


def waits() -> str:
    """Where each asyncio task and each thread of this process waits."""
    # Tasks of all loops: gc finds them from another thread too.
    tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]
    threads = sys._current_frames().items()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        [
            *(f"task {task.get_name()}\n{_of_task(task)}" for task in tasks),
            *(f"thread {names.get(each)}\n{_innermost(frame)}" for each, frame in threads),
        ]
    )


def _innermost(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-FRAMES:])


def _of_task(task: asyncio.Task[Any]) -> str:
    """A suspended task's own stack names its outermost function only; what that awaits is followed here."""
    lines: list[str] = []
    waiting: Any = task.get_coro()
    while (frame := _frame(waiting)) is not None:
        lines.append(f'  File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}')
        waiting = _awaited(waiting)
    return "\n".join(lines)


def _frame(waiting: Any) -> FrameType | None:
    """The frame of a coroutine, generator or asynchronous generator."""
    found = (getattr(waiting, f"{kind}_frame", None) for kind in ("cr", "gi", "ag"))
    return next((frame for frame in found if frame is not None), None)


def _awaited(waiting: Any) -> Any:
    """What a coroutine, generator or asynchronous generator waits for."""
    names = ("cr_await", "gi_yieldfrom", "ag_await")
    return next((each for name in names if (each := getattr(waiting, name, None)) is not None), None)
