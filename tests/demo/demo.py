"""Runs scripts/demo as a person does, in a directory and on ports of the test's own."""

import os
import random
import re
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/demo"
PORTS = 6


@dataclass(frozen=True)
class Demo:
    """A demo's directory and first port; `demo("start")` runs a command of it."""

    directory: Path
    first_port: int

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """scripts/demo ARGUMENTS without a terminal, to its end."""
        return subprocess.run(
            [SCRIPT, *arguments],
            env={
                **os.environ,
                "DEMO_DIRECTORY": str(self.directory),
                "DEMO_FIRST_PORT": str(self.first_port),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    def does(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        done = self(*arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        assert done.stderr == ""
        return done.stdout

    def refuses(self, *arguments: str) -> str:
        """The one message of a command that must fail: exit code 1, no traceback."""
        done = self(*arguments)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stderr.startswith("scripts/demo: "), done
        return done.stderr.removeprefix("scripts/demo: ").rstrip()

    def pid(self, server: str) -> int:
        """The number in a server's pid file."""
        return int((self.directory / server / "pid").read_text())

    def running(self) -> list[str]:
        """The servers that run, as status tells."""
        return re.findall(r"^(\w+)\.localhost:\d+ +runs, process \d+ ", self("status").stdout, re.MULTILINE)

    def logs(self) -> str:
        """The end of each server's log."""
        return "\n".join(
            f"{path}:\n" + "\n".join(path.read_text().splitlines()[-15:])
            for path in sorted(self.directory.glob("*/log"))
        )


def free_ports() -> int:
    """The first of as many free ports in a row as a demo needs; below those of outgoing connections."""
    for _ in range(100):
        first = random.randrange(20000, 32000)
        with ExitStack() as stack:
            try:
                for port in range(first, first + PORTS):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")
