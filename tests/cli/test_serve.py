"""The main job around a stand-in for the server: signals, the banner, what is told when the start fails."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from homeserver.cli import banner
from homeserver.config import settings_from

from .command import fails, generate
from .process import Process, free_port

# A homeserver.app that listens as the real one does, and does nothing else.
STAND_IN = """
import asyncio, os, sys, types
from homeserver.tls import certificate_store

class Running:
    def __init__(self, store, servers):
        self.store, self.servers = store, servers
    async def close(self):
        if os.environ.get("STAND_IN") == "hangs":
            await asyncio.sleep(60)
        for server in self.servers:
            server.close()
    def reload(self):
        self.store.reload()

async def serve(settings):
    if os.environ.get("STAND_IN") == "never starts":
        print("starting", file=sys.stderr, flush=True)
        await asyncio.sleep(60)
    store = certificate_store(settings)
    servers = [
        await asyncio.start_server(
            lambda reader, writer: None, list(each.bind_addresses), each.port,
            ssl=store.context if each.tls else None,
        )
        for each in settings.server.listeners
    ]
    return Running(store, servers)

app = types.ModuleType("homeserver.app")
app.serve = serve
sys.modules["homeserver.app"] = app
import homeserver
homeserver.app = app
from homeserver.cli import main
sys.exit(main(sys.argv[1:]))
"""


def configuration(directory: Path, port: int, more: str = "") -> Path:
    config = generate(directory, "localhost:8448")
    with config.open("a") as file:
        file.write(f"listeners: [{{port: {port}, bind_addresses: [127.0.0.1], tls: true}}]\n{more}")
    return config


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_soon(
    tmp_path: Path, processes: list[Process], number: signal.Signals
) -> None:
    server = Process(configuration(tmp_path, free_port(), "pid_file: run/server.pid\n"), STAND_IN)
    processes.append(server)
    server.wait_for("check federation")
    assert (tmp_path / "run/server.pid").read_text() == f"{server.process.pid}\n"
    code, seconds = server.end(number)
    assert code == 0, server.output()
    assert seconds < 2
    assert "Stopped" in server.output()
    assert "Traceback" not in server.output()
    assert not (tmp_path / "run/server.pid").exists()


@pytest.mark.parametrize(("stand_in", "code"), [("hangs", 1), ("never starts", 0)])
def test_it_ends_in_time_even_when_something_hangs(
    tmp_path: Path, processes: list[Process], stand_in: str, code: int
) -> None:
    server = Process(configuration(tmp_path, free_port()), STAND_IN, stand_in)
    processes.append(server)
    server.wait_for("starting" if stand_in == "never starts" else "check federation")
    actual, seconds = server.end(signal.SIGTERM)
    assert actual == code, server.output()
    assert seconds < 2.5
    assert "Traceback" not in server.output()


def test_sighup_reads_the_certificate_again(tmp_path: Path, processes: list[Process]) -> None:
    server = Process(configuration(tmp_path, free_port()), STAND_IN)
    processes.append(server)
    server.wait_for("check federation")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("SIGHUP: the TLS certificate was read again")
    (tmp_path / "data/tls/self-signed.crt").write_text("broken")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("SIGHUP: the certificate of before stays in use: tls_certificate_path")
    assert server.end(signal.SIGTERM)[0] == 0


def test_a_port_in_use(tmp_path: Path, processes: list[Process]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Process(configuration(tmp_path, port, "pid_file: server.pid\n"), STAND_IN)
        processes.append(server)
        assert server.process.wait(timeout=30) == 1
    (line,) = [line for line in server.output().splitlines() if line.startswith("homeserver: ")]
    assert f"port {port} on 127.0.0.1 is in use by another program" in line
    assert "change the port in listeners" in line
    assert "Traceback" not in server.output()
    assert not (tmp_path / "server.pid").exists()


def test_an_address_that_is_not_of_this_machine(tmp_path: Path, processes: list[Process]) -> None:
    config = generate(tmp_path)
    with config.open("a") as file:
        file.write("listeners: [{port: 18448, bind_addresses: [192.0.2.1]}]\n")
    server = Process(config, STAND_IN)
    processes.append(server)
    assert server.process.wait(timeout=30) == 1
    assert "this machine does not have that address. Correct bind_addresses" in server.output()
    assert "Traceback" not in server.output()


def test_a_pid_file_that_is_a_directory(tmp_path: Path) -> None:
    config = configuration(tmp_path, free_port(), "pid_file: .\n")
    assert "pid_file:" in fails("-c", config)


def test_warnings_about_the_file_are_logged(tmp_path: Path, processes: list[Process]) -> None:
    server = Process(configuration(tmp_path, free_port(), "my_own: 1\nreport_stats: false\n"), STAND_IN)
    processes.append(server)
    server.wait_for("check federation")
    lines = server.output().splitlines()
    assert any("WARNING" in line and "my_own: this key is not known" in line for line in lines)
    assert any("INFO" in line and "are not used by this server: report_stats" in line for line in lines)
    server.end(signal.SIGTERM)


def test_the_log_goes_where_log_config_says(tmp_path: Path, processes: list[Process]) -> None:
    config = configuration(tmp_path, free_port(), "log_config: log.yaml\n")
    (tmp_path / "log.yaml").write_text(
        "version: 1\n"
        f"handlers: {{file: {{class: logging.FileHandler, filename: {tmp_path}/own.log}}}}\n"
        "root: {level: INFO, handlers: [file]}\n"
    )
    server = Process(config, STAND_IN)
    processes.append(server)
    server.log = tmp_path / "own.log"
    server.log.touch()
    server.wait_for("check federation")
    assert server.end(signal.SIGTERM)[0] == 0


def test_a_log_config_of_synapse_is_left_out_with_a_note(tmp_path: Path, processes: list[Process]) -> None:
    config = configuration(tmp_path, free_port(), "log_config: log.yaml\n")
    (tmp_path / "log.yaml").write_text(
        "version: 1\n"
        "filters: {context: {(): synapse.util.logcontext.LoggingContextFilter, request: ''}}\n"
        "handlers: {console: {class: logging.StreamHandler, filters: [context]}}\n"
        "root: {level: INFO, handlers: [console]}\n"
    )
    server = Process(config, STAND_IN)
    processes.append(server)
    server.wait_for("check federation")
    assert "names parts of another program (synapse.util.logcontext.LoggingContextFilter)" in server.output()
    server.end(signal.SIGTERM)


def _banner(text: dict[str, object]) -> str:
    document = {"registration_shared_secret": "x", **text}
    settings = settings_from(document, base=Path("/srv/matrix"), config_path=Path("/srv/my matrix/hs.yaml"))
    return "\n".join(banner.lines(settings.settings))


def test_the_banner_of_a_public_server() -> None:
    shown = _banner({"server_name": "example.org", "tls_certificate_path": "a", "tls_private_key_path": "b"})
    assert "port 8448 on all addresses: TLS, for clients and servers" in shown
    assert "port 8008 on 127.0.0.1, ::1: plain HTTP, for clients and servers" in shown
    assert (
        "servers:  find example.org by its /.well-known/matrix/server, its SRV record, or port 8448" in shown
    )
    assert (
        f"create a user: {sys.executable} -m homeserver -c '/srv/my matrix/hs.yaml' register-user NAME"
        in shown
    )
    assert "homeserver https://example.org/" in shown
    assert shown.rstrip().endswith("doctor")
    assert "self-signed" not in shown


def test_the_banner_of_a_server_for_this_machine() -> None:
    shown = _banner({"server_name": "localhost:8448"})
    assert "self-signed, made by this server" in shown
    assert "homeserver http://127.0.0.1:8008" in shown
    assert "means nothing outside this machine or network" in shown
    assert "check federation: it needs a name" in shown


def test_the_banner_without_a_secret() -> None:
    shown = _banner({"server_name": "example.org", "registration_shared_secret": None})
    assert "create a user: set registration_shared_secret" in shown
