"""The servers as processes: started in the background, found again by their pid files, stopped."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from layout import DemoError, Server

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60
SECONDS_TO_STOP = 10
LOG_LINES_SHOWN = 12


def pid_of(server: Server) -> int | None:
    """The process of a server, None if it does not run. A number that is now another program's is not taken for it."""
    try:
        pid = int(server.pid_path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if str(server.config_path) in _command_line(pid) else None


def _command_line(pid: int) -> str:
    """What a process was started with, "" if there is none or it has ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout


def start(servers: Iterable[Server], ready: Callable[[Server], bool]) -> None:
    """Start servers side by side, and wait until each is `ready`.

    Raises DemoError if a port is in use, or with the end of its log if one does not start; those that were
    started are then stopped again.
    """
    servers = list(servers)
    for server in servers:
        _check_port(server, server.federation_port)
        _check_port(server, server.client_port)
    started = {server.name: _launch(server) for server in servers}
    try:
        for server in servers:
            _wait_until_ready(server, started[server.name], ready)
    except BaseException:
        stop(servers)
        raise


def _check_port(server: Server, port: int) -> None:
    with socket.socket() as probe:
        # As the server itself does: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise DemoError(f"port {port} of this machine cannot be used: {error.strerror}") from error
            raise DemoError(
                f"port {port}, which {server.name} needs, is in use by another program. End that program, or take other "
                "ports: scripts/demo clean, then scripts/demo start --first-port 20448 (for instance)"
            ) from None


def _launch(server: Server) -> subprocess.Popen[bytes]:
    with server.log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "homeserver", "-c", str(server.config_path)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it stays when the terminal is closed
        )
    server.pid_path.write_text(f"{process.pid}\n", encoding="ascii")
    return process


def _wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], ready: Callable[[Server], bool]
) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not ready(server):
        if process.poll() is not None:
            raise DemoError(f"{server.name} did not start. The end of {server.log_path}:\n{_log_end(server)}")
        if time.monotonic() > deadline:
            raise DemoError(
                f"{server.name} does not answer after {SECONDS_TO_START} s. The end of {server.log_path}:\n"
                f"{_log_end(server)}"
            )
        time.sleep(0.02)


def _log_end(server: Server) -> str:
    lines = server.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])


def stop(servers: Iterable[Server]) -> dict[str, str]:
    """Stop servers; what became of each: "stopped", "killed" if it did not end by itself, "was not running"."""
    asked: dict[str, tuple[Server, int]] = {}
    done: dict[str, str] = {}
    for server in servers:
        pid = pid_of(server)
        if pid is None:
            done[server.name] = "was not running"
        elif _send(pid, signal.SIGTERM):
            asked[server.name] = (server, pid)
            done[server.name] = "stopped"
    deadline = time.monotonic() + SECONDS_TO_STOP
    for name, (server, pid) in asked.items():
        while _runs(server, pid):
            if time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
                done[name] = "killed"
            time.sleep(0.01)
    for server in servers:
        server.pid_path.unlink(missing_ok=True)
    return done


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _runs(server: Server, pid: int) -> bool:
    with suppress(ChildProcessError):  # it may be of an earlier command
        os.waitpid(pid, os.WNOHANG)  # an ended child stays until its parent has asked
    return pid_of(server) == pid


def memory(pid: int) -> int | None:
    """The memory a process has now, in bytes; None where /proc does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else None
