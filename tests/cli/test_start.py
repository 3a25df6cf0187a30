"""The real server as a process: it starts, answers, registers a user, reloads its certificate and ends in time."""

import json
import signal
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any

from .command import generate, run
from .process import Process, free_port


def configuration(directory: Path) -> tuple[Path, int, int]:
    """A fresh configuration with a TLS and a plain port; returns its path and the ports."""
    config = generate(directory, "localhost:8448")
    tls, plain = free_port(), free_port()
    with config.open("a") as file:
        file.write(
            f"listeners: [{{port: {tls}, bind_addresses: [127.0.0.1], tls: true}}, "
            f"{{port: {plain}, bind_addresses: [127.0.0.1]}}]\n"
        )
    return config, tls, plain


def get(url: str, body: dict[str, Any] | None = None) -> Any:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        return json.load(response)


def test_the_first_steps(tmp_path: Path, processes: list[Process]) -> None:
    config, tls, plain = configuration(tmp_path)
    server = Process(config)
    processes.append(server)
    server.wait_for("check federation")
    assert get(f"https://localhost:{tls}/_matrix/client/versions")["versions"]
    assert get(f"http://127.0.0.1:{plain}/_matrix/key/v2/server")["server_name"] == "localhost:8448"

    done = run("-c", config, "register-user", "alice", "--admin", "--password", "wonderland")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Administrator @alice:localhost:8448 is registered.\n"
    again = run("-c", config, "register-user", "alice", "--password", "wonderland")
    assert again.returncode == 1
    assert "(M_USER_IN_USE). Choose another name" in again.stderr
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "wonderland",
    }
    logged_in = get(f"http://127.0.0.1:{plain}/_matrix/client/v3/login", login)
    assert logged_in["user_id"] == "@alice:localhost:8448"

    server.process.send_signal(signal.SIGHUP)
    server.wait_for("SIGHUP: the TLS certificate was read again")
    code, seconds = server.end(signal.SIGTERM)
    assert code == 0, server.output()
    assert seconds < 2
    # Nothing frightening from the first start to the end.
    for word in ("WARNING", "ERROR", "CRITICAL", "Traceback"):
        assert word not in server.output(), server.output()


def test_it_ends_in_time_while_a_client_waits_for_events(tmp_path: Path, processes: list[Process]) -> None:
    config, _, plain = configuration(tmp_path)
    server = Process(config)
    processes.append(server)
    server.wait_for("check federation")
    assert run("-c", config, "register-user", "bob", "--password", "x").returncode == 0
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}, "password": "x"}
    token = get(f"http://127.0.0.1:{plain}/_matrix/client/v3/login", login)["access_token"]
    since = _sync(plain, token, "")["next_batch"]
    with socket.create_connection(("127.0.0.1", plain), timeout=10) as waiting:
        path = f"/_matrix/client/v3/sync?timeout=60000&since={since}"
        waiting.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        _sync(plain, token, "")  # answered after the other request arrived
        code, seconds = server.end(signal.SIGTERM)
    assert code == 0, server.output()
    assert seconds < 2


def _sync(port: int, token: str, since: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_matrix/client/v3/sync?timeout=0&since={since}".removesuffix("&since="),
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_a_port_in_use(tmp_path: Path, processes: list[Process]) -> None:
    config, tls, _ = configuration(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", tls))
        taken.listen()
        server = Process(config)
        processes.append(server)
        assert server.process.wait(timeout=30) == 1
    (line,) = [line for line in server.output().splitlines() if line.startswith("homeserver: ")]
    assert f"port {tls} on 127.0.0.1 is in use by another program" in line
    assert "Traceback" not in server.output()


def test_a_database_of_another_program(tmp_path: Path, processes: list[Process]) -> None:
    config, _, _ = configuration(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/homeserver.db").write_bytes(b"this is no database " * 100)
    server = Process(config)
    processes.append(server)
    assert server.process.wait(timeout=30) == 1
    assert "homeserver: " in server.output()
    assert "Traceback" not in server.output()
