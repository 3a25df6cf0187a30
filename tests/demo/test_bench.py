"""scripts/bench still measures: briefly, and whatever the figures are."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/bench"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


def test_it_measures_sending_syncing_and_receiving() -> None:
    done = bench("send", "sync", "federation", "--seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["database"] == "SQLite"
    assert figures["memory_bytes"] > 2**20
    measures = {each["what"]: each for each in figures["measures"]}
    assert set(measures) == {
        "send, 1 client",
        "send, 32 clients, one room",
        "send, 32 clients, a room each",
        "message to a waiting /sync",
        "/sync with nothing new",
        "PDUs in, 50 a transaction",
        "PDUs in, 1 a transaction",
    }
    for each in measures.values():
        assert each["count"] > 0 and each["per_second"] > 0
        assert 0 < each["ms"]["p50"] <= each["ms"]["p95"] <= each["ms"]["p99"]
    # The event itself and what finding it takes; a full copy of the state for each would be far more.
    assert 300 < measures["send, 32 clients, a room each"]["bytes on disk per message"] < 20_000


def test_a_profile_tells_of_all_threads(tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    done = bench("sync", "--seconds", "0.2", "--profile", str(profile))
    assert done.returncode == 0, done.stderr
    assert "message to a waiting /sync" in done.stdout
    told = profile.read_text()
    assert "=== thread main" in told
    assert "room_graph.py" in told, "SQLite's thread does that"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no measure nothing, only send, members, sync, initial-sync, federation"),
        (["--seconds", "100"], "--seconds: found 100, but allowed is more than 0 and at most 15"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
