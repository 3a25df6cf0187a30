"""register-user against a server that answers as /_synapse/admin/v1/register does."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from homeserver.config import load_settings

from .command import fails, generate, run

NONCE = "abcdef"


class Registrar:
    """A registration endpoint on a port of its own; `answer` can be set to what POST gets."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.answer: tuple[int, Any] | None = None
        registrar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(200, {"nonce": NONCE} if self.path == "/_synapse/admin/v1/register" else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                registrar.bodies.append(body)
                self.reply(*(registrar.answer or (200, {"user_id": f"@{body['username']}:a.example"})))

            def reply(self, status: int, answer: Any) -> None:
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the terminal."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        if not self.thread.is_alive():
            return
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    registrar = Registrar()
    yield registrar
    registrar.close()


@pytest.fixture
def config(tmp_path: Path, registrar: Registrar) -> Path:
    path = generate(tmp_path)
    with path.open("a") as file:
        file.write(f"listeners:\n  - {{port: {registrar.port}, bind_addresses: [127.0.0.1]}}\n")
    return path


def expected_mac(config: Path, user: str, password: str, role: str) -> str:
    secret = load_settings(config).settings.registration.registration_shared_secret
    assert secret is not None
    message = f"{NONCE}\0{user}\0{password}\0{role}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha1).hexdigest()


def test_a_user(config: Path, registrar: Registrar) -> None:
    done = run("-c", config, "register-user", "alice", "--password", "wonderländ")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "User @alice:a.example is registered.\n"
    (body,) = registrar.bodies
    assert body == {
        "nonce": NONCE,
        "username": "alice",
        "password": "wonderländ",
        "admin": False,
        "mac": expected_mac(config, "alice", "wonderländ", "notadmin"),
    }


def test_an_administrator_with_the_password_from_the_input(config: Path, registrar: Registrar) -> None:
    done = run(
        "register-user", "-c", config, "@root:a.example", "--admin", "--password-file", "-", stdin="pw\n"
    )
    assert done.returncode == 0, done
    assert done.stdout == "Administrator @root:a.example is registered.\n"
    assert registrar.bodies[0]["mac"] == expected_mac(config, "root", "pw", "admin")
    assert registrar.bodies[0]["admin"] is True


def test_the_password_from_a_file(config: Path, registrar: Registrar, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\nnot this line\n")
    assert run("-c", config, "register-user", "a", "--password-file", tmp_path / "password").returncode == 0
    assert registrar.bodies[0]["password"] == "from a file"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["register-user"], "the name is missing and there is no terminal"),
        (["register-user", "alice"], "the password is missing and there is no terminal"),
        (["register-user", "alice", "--password", ""], "the password is empty"),
        (
            ["register-user", "@alice:b.example", "--password", "x"],
            "is a user of b.example, and this server is",
        ),
        (["register-user", "@:a.example", "--password", "x"], "the name is empty"),
        (["register-user", "alice", "--password-file", "/no/such/file"], "cannot be read"),
        (["register-user", "alice", "--password", "x", "--url", "a.example"], "--url: found"),
    ],
)
def test_wrong_arguments(config: Path, registrar: Registrar, arguments: list[str], expected: str) -> None:
    assert expected in fails("-c", config, *arguments)
    assert registrar.bodies == []


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (
            400,
            {"errcode": "M_USER_IN_USE", "error": "taken"},
            "refused: taken (M_USER_IN_USE). Choose another name",
        ),
        (403, {"errcode": "M_FORBIDDEN", "error": "HMAC"}, "start it again"),
        (502, b"<html>", "is not a homeserver (status 502); give --url"),
        (200, b"<html>", "does not answer"),
        (200, {}, "is not this server"),
    ],
)
def test_refusals(config: Path, registrar: Registrar, status: int, answer: Any, expected: str) -> None:
    registrar.answer = (status, answer)
    assert expected in fails("-c", config, "register-user", "alice", "--password", "x")


def test_the_server_is_not_running(registrar: Registrar, config: Path) -> None:
    registrar.close()
    message = fails("-c", config, "register-user", "alice", "--password", "x")
    assert f"does not answer at http://127.0.0.1:{registrar.port}" in message
    assert "Is it running?" in message


def test_no_shared_secret(tmp_path: Path) -> None:
    config = tmp_path / "homeserver.yaml"
    config.write_text("server_name: a.example\n")
    message = fails("-c", config, "register-user", "alice", "--password", "x")
    assert "registration_shared_secret is not set" in message
