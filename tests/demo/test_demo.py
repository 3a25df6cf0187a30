"""scripts/demo: three servers, one room; what a person does with it, and what can go wrong."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .demo import SCRIPT, Demo, free_ports

SEEN = re.compile(r"^ +seen by (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that was started. Tests may stop its servers: `start` brings back what does not run."""
    demo = Demo(tmp_path_factory.mktemp("demo") / "demo", free_ports())
    try:
        demo.does("start")
        yield demo
    finally:
        demo("clean")


@pytest.fixture
def nothing(tmp_path: Path) -> Demo:
    """A demo that was never started."""
    return Demo(tmp_path / "demo", free_ports())


def crossings(output: str) -> list[list[str]]:
    """For each message of a chat, who saw it."""
    found = []
    for line in SEEN.findall(output):
        parts = [re.fullmatch(r"(\w+) (\d+) ms", part) for part in line.split(" · ")]
        assert all(parts), output
        found.append([part[1] for part in parts if part])
    return found


def test_it_starts_and_says_who_is_where(demo: Demo) -> None:
    shown = demo.does("status")
    for index, (server, person) in enumerate((("alpha", "alice"), ("beta", "bob"), ("gamma", "carol"))):
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{server}.localhost:")]
        assert f"runs, process {demo.pid(server)}" in line
        assert f"{server}.localhost:{demo.first_port + index} " in line
        client_url = f"http://127.0.0.1:{demo.first_port + 3 + index}"
        password = re.search(rf"{client_url} +{person} +(\S+)", line)
        assert password, line
        assert log_in(client_url, person, password[1])["user_id"].startswith(f"@{person}:{server}.localhost:")
    assert "\x1b" not in shown, "colours are for terminals"


def log_in(client_url: str, user: str, password: str) -> Any:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
    }
    request = urllib.request.Request(
        f"{client_url}/_matrix/client/v3/login", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def test_the_variables_for_a_shell_work(demo: Demo) -> None:
    command = (
        f'. {demo.directory}/env && curl -sf -H "Authorization: Bearer $CAROL" '
        '"$GAMMA/_matrix/client/v3/rooms/$ROOM/joined_members"'
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert {user.split(":")[0] for user in json.loads(done.stdout)["joined"]} == {"@alice", "@bob", "@carol"}
    for name in ("demo.json", "env", "alpha/homeserver.yaml", "alpha/signing.key", "alpha/tls.key"):
        assert (demo.directory / name).stat().st_mode & 0o077 == 0, f"{name} is for its owner only"


def test_each_message_crosses_all_three(demo: Demo) -> None:
    demo.does("start")
    shown = demo.does("chat")
    assert crossings(shown) == [["alice", "bob", "carol"]] * 3
    assert re.findall(r"^(\w+) on (\w+) ", shown, re.MULTILINE) == [
        ("alice", "alpha"),
        ("bob", "beta"),
        ("carol", "gamma"),
    ]
    assert "Everybody saw everything" in shown
    assert shown != demo.does("chat"), "they do not say the same again"


def test_a_text_of_ones_own(demo: Demo) -> None:
    demo.does("start")
    shown = demo.does("chat", "[bold]hello[/bold] :smile: \x1b[31mred", "--as", "bob")
    assert shown.startswith("bob on beta  [bold]hello[/bold] :smile: ")
    assert crossings(shown) == [["alice", "bob", "carol"]]
    assert "--as says who says a text" in demo.refuses("chat", "--as", "bob")


def test_a_server_that_was_away_catches_up(demo: Demo) -> None:
    demo.does("start")
    assert demo.does("stop", "gamma") == "gamma was stopped\n"
    shown = demo.does("chat")
    assert crossings(shown) == [["alice", "bob"]] * 2
    assert "gamma is stopped; carol will get this when it is back: scripts/demo start gamma" in shown
    assert "the server of carol does not run" in demo.refuses("chat", "hello", "--as", "carol")

    shown = demo.does("start", "gamma")
    assert re.search(
        r"^carol had missed 2 messages and has got them all, \d+\.\d s after", shown, re.MULTILINE
    )
    assert re.search(r"^alice, bob and carol have the same \d+ messages\.$", demo.does("room"), re.MULTILINE)
    assert crossings(demo.does("chat")) == [["alice", "bob", "carol"]] * 3


def test_what_was_said_alone_comes_later(demo: Demo) -> None:
    demo.does("start")
    demo.does("stop", "alpha", "beta")
    demo.does("chat", "only carol knows", "--as", "carol")
    demo.does("stop", "gamma")
    demo.does("start", "alpha", "beta")
    assert "only carol knows" not in demo.does("room")
    assert "had missed" not in demo.does("start"), "only carol was away, and it was she who spoke"
    assert re.search(r"carol: only carol knows +✓ +✓ +✓", demo.does("room"))


def test_what_runs_is_not_started_again(demo: Demo) -> None:
    demo.does("start")
    before = [demo.pid(server) for server in ("alpha", "beta", "gamma")]
    shown = demo.does("start")
    assert shown == "alpha was running already\nbeta was running already\ngamma was running already\n"
    assert [demo.pid(server) for server in ("alpha", "beta", "gamma")] == before


def test_a_server_that_died_is_noticed_and_started_again(demo: Demo) -> None:
    demo.does("start")
    os.kill(demo.pid("beta"), signal.SIGKILL)
    while "beta" in demo.running():
        pass  # the kernel is about to end it
    status = demo("status")
    assert status.returncode == 1
    assert "To start beta: scripts/demo start beta" in status.stdout
    demo.does("start", "beta")
    assert crossings(demo.does("chat")) == [["alice", "bob", "carol"]] * 3


def test_a_pid_that_is_another_programs_now_is_left_alone(demo: Demo) -> None:
    demo.does("stop", "gamma")
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (demo.directory / "gamma/pid").write_text(f"{bystander.pid}\n")
        assert "gamma" not in demo.running()
        assert demo.does("stop", "gamma") == "gamma was not running\n"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_port_in_use_is_named_and_nothing_is_left_running(demo: Demo) -> None:
    demo.does("stop")
    port = demo.first_port + 4
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        message = demo.refuses("start")
    assert f"port {port}, which beta needs, is in use by another program" in message
    assert "--first-port" in message
    assert demo.running() == []


def test_a_server_that_cannot_start_shows_why(demo: Demo) -> None:
    demo.does("stop")
    config = demo.directory / "beta/homeserver.yaml"
    text = config.read_text()
    try:
        config.write_text(text + "default_room_version: 99\n")
        message = demo.refuses("start")
    finally:
        config.write_text(text)
    assert message.startswith(f"beta did not start. The end of {demo.directory}/beta/log:\n")
    assert "default_room_version" in message
    assert demo.running() == []


def test_a_first_start_that_was_interrupted_goes_on(demo: Demo) -> None:
    demo.does("stop")
    path = demo.directory / "demo.json"
    state = json.loads(path.read_text())
    room_id, state["room_id"] = state["room_id"], None
    for person in state["people"].values():
        person["token"] = None
    path.write_text(json.dumps(state))
    assert "the first start makes users and the room" in demo.refuses("start", "alpha")
    demo.does("start")
    assert json.loads(path.read_text())["room_id"] == room_id
    assert crossings(demo.does("chat")) == [["alice", "bob", "carol"]] * 3


def test_when_all_are_stopped(demo: Demo) -> None:
    demo.does("stop")
    assert demo.does("stop") == "alpha was not running\nbeta was not running\ngamma was not running\n"
    assert demo("status").returncode == 1
    assert demo.refuses("chat") == demo.refuses("room") == "no server runs: scripts/demo start"


def test_other_ports_and_unknown_servers_are_refused(demo: Demo) -> None:
    message = demo.refuses("start", "--first-port", "3000")
    assert f"has the ports from {demo.first_port} on, and they are part of its names" in message
    assert demo.refuses("stop", "delta") == "there is no server delta here, only alpha, beta, gamma"


def test_only_one_command_at_a_time(demo: Demo) -> None:
    handle = os.open(demo.directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for command in ("start", "stop", "clean"):
            assert "another scripts/demo is just starting or stopping" in demo.refuses(command)
    finally:
        os.close(handle)


def test_in_a_terminal_it_is_colourful(demo: Demo) -> None:
    demo.does("start")
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "DEMO_DIRECTORY": str(demo.directory),
        "TERM": "xterm-256color",
        "COLUMNS": "100",
    }
    process = subprocess.Popen([SCRIPT, "chat"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # how Linux says that the other side is closed
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    assert b"\x1b[" in shown
    assert b"seen by" in shown


def test_two_demos_beside_each_other(demo: Demo, nothing: Demo) -> None:
    demo.does("start")
    shown = nothing.does("start")
    assert "Three servers, one room" in shown
    assert crossings(nothing.does("chat")) == [["alice", "bob", "carol"]] * 3
    assert nothing.does("clean") == f"The servers are stopped, and {nothing.directory} is removed.\n"
    assert not nothing.directory.exists()
    assert nothing.does("clean") == f"There is no demo in {nothing.directory}.\n"
    assert demo.running() == ["alpha", "beta", "gamma"]


def test_before_the_first_start(nothing: Demo) -> None:
    for command in ("status", "chat", "room"):
        assert nothing.refuses(command) == f"there is no demo in {nothing.directory} yet: scripts/demo start"
    assert nothing.does("stop") == f"There is no demo in {nothing.directory}, so nothing runs.\n"
    assert not nothing.directory.exists()


def test_a_directory_of_something_else_is_left_alone(nothing: Demo) -> None:
    nothing.directory.mkdir()
    (nothing.directory / "precious").touch()
    assert "is not empty, and no demo is in it. Give another --directory" in nothing.refuses("start")
    nothing.does("clean")
    assert [path.name for path in nothing.directory.iterdir()] == ["precious"]


def test_a_state_that_cannot_be_read_is_told(nothing: Demo) -> None:
    nothing.directory.mkdir()
    (nothing.directory / "demo.json").write_text('{"people": {}}')
    assert f"{nothing.directory}/demo.json cannot be used" in nothing.refuses("start")


@pytest.mark.parametrize("port", ["80", "65535", "-1"])
def test_a_first_port_that_cannot_be(nothing: Demo, port: str) -> None:
    assert f"--first-port: found {port}, but allowed is a number from 1024 to" in nothing.refuses(
        "start", f"--first-port={port}"
    )
    assert not nothing.directory.exists()


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("tls", "issued by Authority of the homeserver demo"),
        ("dns", "beta.demo.invalid"),
        ("proxy", "the path was percent-decoded on the way"),
        ("clock", "s ahead of this machine's"),
        ("key", "is not published"),
    ],
)
def test_each_fault_is_explained_and_mended(demo: Demo, fault: str, found: str) -> None:
    demo.does("start")
    shown = " ".join(demo.does("break", fault).split())
    assert found in shown
    assert "1 problem to mend" in shown
    assert shown.endswith("beta is mended again.")
    assert not (demo.directory / "beta" / "kept").exists()
    assert len(demo.running()) == 3


def test_the_doctor_finds_nothing_wrong_with_the_three(demo: Demo) -> None:
    demo.does("start")
    assert demo.does("doctor").count("All is well: servers and clients can come.") == 3
    demo.does("stop", "gamma")
    assert demo.refuses("doctor").startswith("not all servers run")
