"""`doctor` on the command line: what it prints, and its exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from homeserver.cli import doctor, main
from homeserver.doctor import Examination, Finding, Level, Section
from homeserver.doctor.facts import Facts
from tests.doctor.chains import Maker

from .command import fails, generate, run
from .process import Process, free_port


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


def told(config: Path) -> tuple[int, set[str]]:
    """The exit code, and the codes of what somebody has to do something about, as the command reports them."""
    done = run("-c", config, "doctor", "--quick", "--json")
    report = json.loads(done.stdout)
    levels = (Level.PROBLEM.value, Level.WARNING.value)
    return done.returncode, {each["code"] for each in report["Explanations"] if each["level"] in levels}


def test_the_certificate_files_before_the_start_and_while_it_runs(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    port = free_port()
    config = generate(tmp_path, f"localhost:{port}")
    with config.open("a") as file:
        file.write(
            "tls_certificate_path: fullchain.pem\n"
            "tls_private_key_path: privkey.pem\n"
            "federation_custom_ca_list: [root.pem]\n"
            f"listeners: [{{port: {port}, bind_addresses: [127.0.0.1, '::1'], tls: true}}]\n"
        )
    assert told(config) == (1, {"server-not-running", "certificate-file-unreadable"})
    maker.files(tmp_path, "localhost", days=-1)
    assert told(config) == (1, {"server-not-running", "certificate-expired"})
    shown = run("-c", config, "doctor", "--quick").stdout
    assert (
        f"the certificate of {tmp_path}/fullchain.pem (tls_certificate_path) is valid now: it ended on"
        in shown
    )
    assert "renew it" in shown

    maker.files(tmp_path, "localhost")
    server = Process(config)
    try:
        server.wait_for(f"localhost:{port}")
        assert told(config) == (0, set())
        # Files that change are read within half a minute, or at SIGHUP; until then it serves the former ones.
        maker.files(tmp_path, "localhost")
        assert told(config) == (0, {"certificate-not-loaded"})
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("SIGHUP: the TLS certificate was read again")
        assert told(config) == (0, set())
    finally:
        server.end(signal.SIGTERM)
