"""The server with a profile of each of its threads, for scripts/bench --profile: `profiled.py OUTPUT -c homeserver.yaml`.

SQLite's work runs in a thread of its own, which Python's profiler does not see unless it is told to.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
import threading
from pathlib import Path
from typing import Any

SHOWN = 45  # functions

_profiles: dict[str, cProfile.Profile] = {}


def _begin(*_: Any) -> None:
    """In each new thread, at its first call: its own profile takes the place of this function."""
    profile = cProfile.Profile()
    name = threading.current_thread().name
    _profiles[f"{name} {len(_profiles)}"] = profile
    profile.enable()


def main() -> int:
    """Run the server; write where each thread spent its time."""
    # As `python -m homeserver` has it: the current directory, not this script's.
    sys.path[0] = str(Path.cwd())
    from homeserver.cli import main as serve

    output = Path(sys.argv[1])
    threading.setprofile(_begin)
    main_thread = cProfile.Profile()
    _profiles["main"] = main_thread
    try:
        return main_thread.runcall(serve, sys.argv[2:])
    finally:
        threading.setprofile(None)
        output.write_text("".join(_told(name, profile) for name, profile in list(_profiles.items())))


def _told(name: str, profile: cProfile.Profile) -> str:
    text = io.StringIO()
    statistics = pstats.Stats(profile, stream=text)
    for order in ("tottime", "cumulative"):
        statistics.sort_stats(order).print_stats(SHOWN)
    return f"=== thread {name}\n{text.getvalue()}\n"


if __name__ == "__main__":
    sys.exit(main())
