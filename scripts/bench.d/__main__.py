"""scripts/bench: how fast the hot paths are, measured on a server process with a fresh database.

The client runs on the same machine and takes its share of it. "CPU ms each" is the processor time of the server alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import measures
import report
import uvloop
from server import BenchmarkError, running

from tests.support.postgresql import PostgreSQLMissing

MEASURES = {
    "send": measures.sending,
    "members": measures.sending_to_many,
    "sync": measures.syncing,
    "initial-sync": measures.initial_sync,
    "federation": measures.receiving,
}
MOST_SECONDS = 15


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"only these: {', '.join(MEASURES)} (default: all)"
    )
    parser.add_argument(
        "--seconds", type=float, default=4, help=f"for each figure, at most {MOST_SECONDS} (default: 4)"
    )
    parser.add_argument(
        "--postgresql", action="store_true", help="on a PostgreSQL of its own, which does not fsync"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="write where the server's time goes; it is then much slower",
    )
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    chosen = arguments.measures or list(MEASURES)
    measured: list[measures.Figures] = []
    with tempfile.TemporaryDirectory(prefix="homeserver-bench-") as directory:
        profile = arguments.profile and arguments.profile.absolute()
        async with running(Path(directory), postgresql=arguments.postgresql, profile=profile) as server:
            for name in chosen:
                measured += await MEASURES[name](server, arguments.seconds)
            memory = server.memory()
    database = "PostgreSQL (no fsync)" if arguments.postgresql else "SQLite"
    if arguments.json:
        print(json.dumps(report.json_of(measured, memory, database), indent=2))
    else:
        report.table(f"On {database}, {arguments.seconds:g} s for each figure", measured, memory)
    if profile:
        print(f"Where the time goes: {profile}", file=sys.stderr)


def main() -> int:
    """Do what the command line says; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args()
    unknown = [name for name in arguments.measures if name not in MEASURES]
    if unknown:
        parser.error(f"there is no measure {unknown[0]}, only {', '.join(MEASURES)}")
    if not 0 < arguments.seconds <= MOST_SECONDS:
        parser.error(
            f"--seconds: found {arguments.seconds:g}, but allowed is more than 0 and at most {MOST_SECONDS}"
        )
    try:
        uvloop.run(_run(arguments))
    except (BenchmarkError, PostgreSQLMissing) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
