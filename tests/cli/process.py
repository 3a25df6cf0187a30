"""The server as a process of its own, with its log."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

REAL = "import sys; from homeserver.cli import main; sys.exit(main(sys.argv[1:]))"


class Process:
    """The server as a process; its standard error goes to a file that can be waited on."""

    def __init__(self, config: Path, program: str = REAL, stand_in: str = "") -> None:
        self.log = config.parent / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "-c", str(config)],
                stderr=log,
                stdout=log,
                env={**os.environ, "STAND_IN": stand_in},
            )

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        """Until the log has the text; fails when the process ends or half a minute has passed."""
        deadline = time.monotonic() + 30
        while text not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send the signal; returns the exit code and the seconds until it."""
        before = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=10)
        return code, time.monotonic() - before


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
