"""Runs the command line as a person does: as a process of its own."""

import subprocess
import sys
from pathlib import Path

from homeserver.cli import main


def run(*arguments: str | Path, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m homeserver ARGUMENTS`, with its output and exit code."""
    return subprocess.run(
        [sys.executable, "-m", "homeserver", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def fails(*arguments: str | Path, cwd: Path | None = None, stdin: str = "") -> str:
    """The one message of a command that must fail: exit code 1, no traceback."""
    done = run(*arguments, cwd=cwd, stdin=stdin)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("homeserver: "), done.stderr
    return done.stderr.removeprefix("homeserver: ").rstrip()


def generate(directory: Path, server_name: str = "a.example") -> Path:
    """A fresh configuration; returns its path."""
    config = directory / "homeserver.yaml"
    assert main(["-c", str(config), "generate-config", "--server-name", server_name]) == 0
    return config
