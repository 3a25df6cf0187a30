"""Programs that use a client library, as processes of their own."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".test-env"


async def run(command: Sequence[str], *, directory: Path | None = None, seconds: float = 120) -> str:
    """Run a program to its end and return what it has printed; AssertionError with all of it when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        stdout, stderr = await process.communicate()
        raise AssertionError(
            f"{command} was not done after {seconds:.0f} s\n{stdout.decode()}\n{stderr.decode()}"
        ) from None
    assert process.returncode == 0, f"{command} failed\n{stdout.decode()}\n{stderr.decode()}"
    return stdout.decode()
