"""A start that fails leaves nothing open: no thread of the database, no task, no file."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from homeserver import app
from homeserver.app import serve
from homeserver.config import Settings, settings_from
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.whole import WholeServer, configuration

GRACE_S = 5.0
KEPT = ("asyncio_", "_run_safe_shutdown_loop")
"""Threads for work of the loop's, and the one that pycares has for the whole process."""

PARTS = (
    "build_base",
    "build_graph",
    "build_ephemeral",
    "build_people",
    "people_services",
    "account_services",
    "push_services",
    "room_services",
    "federation_services",
    "listen",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a server that could start."""
    return settings_from(configuration(tmp_path), base=tmp_path).settings


class Left:
    """What runs and is open besides what did before."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._threads = set(threading.enumerate())

    def over(self) -> list[str]:
        """Names of what is left over."""
        threads = []
        for thread in set(threading.enumerate()) - self._threads:
            if not any(name in thread.name for name in KEPT):
                thread.join(GRACE_S)  # one that was told to end may be about to
                threads += [thread.name] if thread.is_alive() else []
        tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return [*threads, *tasks, *self.files()]

    def files(self) -> list[str]:
        """The files in the directory that are open."""
        found = []
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # the descriptor of the listing itself
                found.append(descriptor.readlink())
        return [str(path) for path in found if path.is_relative_to(self._directory)]


def failing(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but that it fails when it is done."""

    async def awaited(result: Any) -> Any:
        await result
        raise OSError("a fault of the test's")

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if asyncio.iscoroutine(result):
            return awaited(result)
        raise OSError("a fault of the test's")

    return call


@pytest.mark.parametrize("part", PARTS)
async def test_each_part_that_can_fail(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    left = Left(tmp_path)
    monkeypatch.setattr(app, part, failing(getattr(app, part)))
    with pytest.raises(OSError, match="a fault of the test's"):
        await serve(settings)
    assert left.over() == []


async def test_a_port_in_use(settings: Settings, tmp_path: Path) -> None:
    left = Left(tmp_path)
    listener = settings.server.listeners[0]
    with socket.create_server((listener.bind_addresses[0], listener.port)), pytest.raises(OSError):
        await serve(settings)
    assert left.over() == []
    server = await serve(settings)
    assert left.files() != [], "this would see what is left"
    await server.close()
    assert left.over() == []


async def test_no_signing_key(settings: Settings, tmp_path: Path) -> None:
    left = Left(tmp_path)
    settings.keys.signing_key_path.unlink()
    with pytest.raises(Exception, match="signing"):
        await serve(settings)
    assert left.over() == []


async def test_the_servers_of_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Left(tmp_path)
    ours = FederatingServer(Authority(tmp_path), tmp_path)
    monkeypatch.setattr(ours, "_listen", failing(ours._listen))
    with pytest.raises(OSError, match="a fault of the test's"):
        await ours.__aenter__()
    whole = WholeServer(Authority(tmp_path), tmp_path)
    monkeypatch.setattr("tests.support.whole.Client", failing(lambda *_: None))
    with pytest.raises(OSError, match="a fault of the test's"):
        await whole.__aenter__()
    assert left.over() == []
