"""scripts/run on a fresh copy of the repository: what a person meets who has just cloned it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .process import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60
# All that scripts/run needs; what lies about beside it (data, a configuration, .venv) is not taken along.
SHIPPED = ("homeserver", "scripts", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A fresh copy without an environment, below a name that a careless script stumbles over."""
    directory = tmp_path / "my server"
    directory.mkdir()
    for name in SHIPPED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, directory / name)
    return directory


@pytest.fixture
def ready(copy: Path) -> Path:
    """A copy with its environment made: one of its own that takes the packages from the tests' environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copy / ".venv"], check=True)
    (packages,) = (copy / ".venv/lib").glob("python3*/site-packages")
    (packages / "packages-of-the-tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    stamp = hashlib.sha256((copy / "pyproject.toml").read_bytes()).hexdigest()[:16]
    (copy / f".venv/run-from-{stamp}").touch()
    return copy


def run(
    copy: Path, *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """scripts/run without a terminal, to its end."""
    return subprocess.run(
        [copy / "scripts/run", *arguments],
        cwd=cwd or copy.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


def refused(copy: Path, *arguments: str | Path) -> str:
    """The one message with which scripts/run must refuse; it says so at once and leaves nothing."""
    before = set(copy.iterdir())
    done = run(copy, *arguments)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr, done.stderr
    assert set(copy.iterdir()) == before
    return done.stderr


class Running:
    """scripts/run with the server that it becomes."""

    def __init__(self, copy: Path, *arguments: str | Path) -> None:
        self.log = copy / "run.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [copy / "scripts/run", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def answer(self, url: str) -> object:
        """The JSON at a URL, as soon as the server answers."""
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    return json.load(response)
            except urllib.error.URLError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)


@pytest.fixture
def started() -> Iterator[list[Running]]:
    all_started: list[Running] = []
    yield all_started
    for each in all_started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def prepared(copy: Path, *arguments: str | Path) -> int:
    """Let scripts/run write the configuration, and move its listeners to a free port; the port."""
    done = run(copy, "--prepare", *arguments)
    assert done.returncode == 0, done
    port = free_port()
    with (copy / "homeserver.yaml").open("a") as file:
        file.write(f"listeners: [{{port: {port}, bind_addresses: [127.0.0.1]}}]\n")
    return port


def test_the_first_start_writes_what_is_missing_and_serves(ready: Path, started: list[Running]) -> None:
    port = prepared(ready, "--server-name", "example.org")
    assert 'server_name: "example.org"' in (ready / "homeserver.yaml").read_text()
    key = (ready / "example.org.signing.key").read_text()
    assert key.startswith("ed25519 ")

    server = Running(ready)
    started.append(server)
    versions = server.answer(f"http://127.0.0.1:{port}/_matrix/client/versions")
    assert isinstance(versions, dict) and "v1.1" in versions["versions"]
    # It is the server itself that a supervisor sees, so signals reach it.
    assert server.stop() == 0
    assert (ready / "data/homeserver.db").exists()


def test_the_next_start_is_quick_and_changes_nothing(ready: Path, started: list[Running]) -> None:
    port = prepared(ready)
    before = {path: path.read_bytes() for path in ready.iterdir() if path.is_file()}
    # What scripts/run adds to the server's own start; the first preparation has made everything.
    moment = time.monotonic()
    assert run(ready, "--prepare").returncode == 0
    assert time.monotonic() - moment < 3
    server = Running(ready, "--server-name=localhost:8448")
    started.append(server)
    server.answer(f"http://127.0.0.1:{port}/_matrix/client/versions")
    assert "Making the environment" not in server.log.read_text()
    assert "Written" not in server.log.read_text()
    server.stop()
    assert {path: path.read_bytes() for path in before} == before


def test_the_name_is_localhost_unless_one_is_given(ready: Path) -> None:
    assert run(ready, "--prepare").returncode == 0
    assert 'server_name: "localhost:8448"' in (ready / "homeserver.yaml").read_text()


def test_the_configuration_may_be_elsewhere(ready: Path, tmp_path: Path) -> None:
    done = run(ready, "--prepare", "--server-name", "b.example", "-c", "etc/b.yaml", cwd=tmp_path)
    assert done.returncode == 0, done
    assert 'server_name: "b.example"' in (tmp_path / "etc/b.yaml").read_text()
    assert (tmp_path / "etc/b.example.signing.key").exists()
    assert not (ready / "homeserver.yaml").exists()


def test_it_works_through_a_link(ready: Path, tmp_path: Path) -> None:
    link = tmp_path / "matrix"
    link.symlink_to(ready / "scripts/run")
    done = subprocess.run([link, "--prepare"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done
    assert (ready / "homeserver.yaml").exists()


def test_another_name_than_that_of_the_configuration_is_refused(ready: Path) -> None:
    assert run(ready, "--prepare", "--server-name", "example.org").returncode == 0
    message = refused(ready, "--server-name", "example.com")
    assert message == (
        f"scripts/run: {ready}/homeserver.yaml is for the server example.org, not example.com. "
        "Leave --server-name out, or give another --config\n"
    )


@pytest.mark.parametrize(
    "name", ["https://example.org", "example.org/", "two words", "ex@mple.org", "x:99999999"]
)
def test_a_name_that_is_none_is_refused(ready: Path, name: str) -> None:
    message = refused(ready, "--server-name", name)
    assert f'--server-name: found "{name}", but allowed is a server name such as example.org' in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sever-name", "x"], "the argument --sever-name is not known; scripts/run --help says more"),
        (["start"], "the argument start is not known; scripts/run --help says more"),
        (["--server-name"], "--server-name needs a value; scripts/run --help says more"),
        (["-c"], "-c needs a value; scripts/run --help says more"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(copy: Path, arguments: list[str], message: str) -> None:
    assert refused(copy, *arguments) == f"scripts/run: {message}\n"


def test_help_makes_nothing(copy: Path) -> None:
    done = run(copy, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: scripts/run [--server-name NAME]")
    assert not (copy / ".venv").exists()


def test_an_environment_that_cannot_be_made_is_explained_and_made_at_the_next_try(copy: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }
    for _ in range(2):  # half an environment does not pass for a whole one
        done = run(copy, env=nowhere)
        assert done.returncode == 1, done
        assert "Making the environment in .venv (this takes a minute, once) ..." in done.stdout
        assert "scripts/run: the packages could not be installed, see above" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (copy / "homeserver.yaml").exists()
