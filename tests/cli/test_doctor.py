"""`doctor` on the command line: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from homeserver.cli import doctor, main
from homeserver.doctor import Examination, Finding, Level, Section
from homeserver.doctor.facts import Facts

from .command import fails


def examination(*levels: Level) -> Examination:
    made = Examination(Facts("example.org"))
    remedies = {Level.PROBLEM: "mend it", Level.WARNING: "look at it"}
    findings = [
        Finding(f"code-{level.value}", level, f"looking for {level.value}", "this", remedies.get(level, ""))
        for level in levels
    ]
    made.sections.append(Section("A step", findings))
    return made


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> list[Level]:
    """What the doctor finds."""
    levels: list[Level] = []

    async def examine(*_: object, **__: object) -> Examination:
        return examination(*levels)

    monkeypatch.setattr(doctor, "examine", examine)
    return levels


def doctor_says(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what is printed, where there is no configuration."""
    code = main(["-c", str(directory / "homeserver.yaml"), "doctor", "example.org", *arguments])
    return code, capsys.readouterr().out


def test_all_is_well(finds: list[Level], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finds += [Level.OK, Level.NOTE, Level.WARNING]
    code, shown = doctor_says(capsys, tmp_path)
    assert code == 0
    assert "All is well: servers and clients can come; 1 warning." in shown
    assert "looking for warning: this" in shown and "look at it" in shown


def test_a_problem_is_an_exit_code(
    finds: list[Level], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finds += [Level.PROBLEM, Level.OK]
    code, shown = doctor_says(capsys, tmp_path)
    assert code == 1
    assert "1 problem to mend" in shown and "mend it" in shown


def test_as_json(finds: list[Level], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finds += [Level.PROBLEM]
    code, shown = doctor_says(capsys, tmp_path, "--json")
    report = json.loads(shown)
    assert code == 1
    assert report["FederationOK"] is False
    assert report["Explanations"][0]["remedy"] == "mend it"


def test_without_a_configuration_only_others_can_be_looked_at(tmp_path: Path) -> None:
    assert "homeserver.yaml" in fails("doctor", cwd=tmp_path)
