"""A private internet on loopback, in which servers bear names such as matrix.org.

`Network` gives every server an address of its own in 127.83.0.0/16, a certificate of a private authority, and
a name. One that is named without a port is found as most servers are: https://NAME/.well-known/matrix/server
delegates to `federation.NAME:18448`. One that is named with a port is found directly.

Processes that are started with `command()` see the network's /etc/hosts, and a resolver that answers nothing,
in a mount namespace of their own (`unshare --mount`): only they believe in these names. The test process
speaks to the addresses. It takes root.

    async with network() as net, Synapse(net, "matrix.org") as synapse, OurServer(net, "ours.test") as ours:
        alice = await synapse.register("alice")
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from aiohttp import web

from .authority import CertificateAuthority

# Not 8008 and 8448: a server that listens there on every address would be in the way.
CLIENT_PORT = 18008
FEDERATION_PORT = 18448

# The resolver of the namespace: nobody listens there, so DNS fails at once and nothing leaves the machine.
IN_NAMESPACE = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'


@cache
def why_not() -> str | None:
    """Why a network cannot be made here; None when it can."""
    if os.geteuid() != 0:
        return "a private network takes root: mount namespaces and port 443"
    if shutil.which("unshare") is None:
        return "a private network takes unshare (Debian's util-linux)"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        return f"a private network takes mount namespaces: {tried.stderr.strip()}"
    return None


@dataclass(frozen=True)
class Site:
    """A server's place in the network."""

    server_name: str
    address: str
    federation_port: int
    certificate: Path
    """The PEM file of the certificate chain, for the name that other servers must find in it."""
    private_key: Path

    @property
    def client_url(self) -> str:
        """Where the test process speaks to the server, in plain HTTP."""
        return f"http://{self.address}:{CLIENT_PORT}"


class Network:
    """Names, addresses and certificates; made by `network()`."""

    def __init__(self, directory: Path, subnet: int, authority: CertificateAuthority) -> None:
        self.directory = directory
        self.authority = authority
        self._subnet = subnet
        self._addresses = 1  # .1 is the .well-known server's
        self._sites: dict[str, Site] = {}
        self._delegations: dict[str, str] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.well_known_requests: list[str] = []
        self._hosts = directory / "hosts"
        self._hosts.write_text("127.0.0.1 localhost\n")
        self._resolver = directory / "resolv.conf"
        self._resolver.write_text(f"nameserver {self.well_known_address}\noptions timeout:1 attempts:1\n")

    @property
    def ca_path(self) -> Path:
        """The PEM file of the private certificate authority: `federation_custom_ca_list`."""
        return self.authority.certificate_path

    @property
    def well_known_address(self) -> str:
        """Where port 443 of every server that is named without a port is."""
        return f"127.83.{self._subnet}.1"

    def site(self, server_name: str) -> Site:
        """The place of a server, given to it when it is first asked for."""
        if server_name not in self._sites:
            self._sites[server_name] = self._add(server_name)
        return self._sites[server_name]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command that runs `arguments` where the network's names are known."""
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            IN_NAMESPACE,
            "sh",
            str(self._hosts),
            str(self._resolver),
            *arguments,
        ]

    def point(self, host: str, address: str) -> None:
        """Give a host name an address; servers that run already see it too."""
        with self._hosts.open("a") as file:  # in place: the namespaces have bound this very file
            file.write(f"{address} {host}\n")

    def delegate(self, server_name: str, to: str) -> None:
        """Serve `{"m.server": to}` at https://server_name/.well-known/matrix/server."""
        if server_name not in self._contexts:
            pair = self.authority.issue(server_name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate_path, pair.key_path)
            self._contexts[server_name] = context
            self.point(server_name, self.well_known_address)
        self._delegations[server_name] = to

    def _add(self, server_name: str) -> Site:
        self._addresses += 1
        address = f"127.83.{self._subnet}.{self._addresses}"
        host, _, port = server_name.partition(":")
        if not port:
            host = f"federation.{server_name}"
            self.delegate(server_name, f"{host}:{FEDERATION_PORT}")
        self.point(host, address)
        pair = self.authority.issue(host)
        return Site(server_name, address, int(port or FEDERATION_PORT), pair.certificate_path, pair.key_path)

    def _choose_certificate(
        self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        context = self._contexts.get(name or "")
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None

    async def _serve_well_known(self, request: web.Request) -> web.Response:
        name = request.host
        self.well_known_requests.append(name)
        if name not in self._delegations:
            raise web.HTTPNotFound
        return web.json_response({"m.server": self._delegations[name]})

    @contextlib.asynccontextmanager
    async def _serving(self, listener: socket.socket) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_get("/.well-known/matrix/server", self._serve_well_known)
        runner = web.AppRunner(application)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._choose_certificate
        await web.SockSite(runner, listener, ssl_context=context).start()
        try:
            yield
        finally:
            await runner.cleanup()


def _claim_subnet() -> tuple[int, socket.socket]:
    """A free 127.83.N.0/24 and the listener on its port 443; holding the port is what claims the subnet."""
    error = OSError("no subnet tried")
    for attempt in range(255):
        subnet = (os.getpid() + attempt) % 255
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((f"127.83.{subnet}.1", 443))
            listener.listen()
        except OSError as refused:
            listener.close()
            error = refused
        else:
            return subnet, listener
    raise error


def _directory() -> Path:
    """In memory when there is room: Synapse waits for the disk three times as long as it works."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    return Path(tempfile.mkdtemp(prefix="network-", dir=memory if roomy else None))


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A network for a test or a module of tests; skips with the reason where it cannot be made."""
    if reason := why_not():
        pytest.skip(reason)
    try:
        subnet, listener = _claim_subnet()
    except OSError as error:
        pytest.skip(f"a private network takes port 443 on loopback: {error}")
    directory = _directory()
    try:
        net = Network(directory, subnet, CertificateAuthority(directory / "certificates"))
        async with net._serving(listener):
            yield net
    finally:
        listener.close()
        shutil.rmtree(directory, ignore_errors=True)


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> None:
    """Wait until the condition holds; AssertionError that names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)


class Startable(Protocol):
    """Synapse and OurServer."""

    async def start(self) -> None:
        """Start, and wait until it answers."""

    async def stop(self) -> None:
        """Stop, and wait until it has ended."""


@contextlib.asynccontextmanager
async def running(*servers: Startable) -> AsyncIterator[None]:
    """Start several servers at the same time, and stop them."""
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield
    finally:
        await asyncio.gather(*(server.stop() for server in servers))


class ServerProcess:
    """A server that runs as a process in the network's namespace, with its output in a log file."""

    def __init__(self, net: Network, site: Site, arguments: Sequence[str], directory: Path) -> None:
        self.net = net
        self.site = site
        self.directory = directory
        self.output_path = directory / "output.log"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        """Of the last run, once it has ended; negative: the signal that ended it."""

    @property
    def pid(self) -> int:
        """The process of the server itself: unshare and sh have made way for it."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def output(self) -> str:
        """Everything the process has printed, over all its starts."""
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    async def start(self, seconds: float = 60) -> None:
        """Start, and wait until it answers clients; AssertionError with its last output when it does not."""
        assert not self.is_running, f"{self.site.server_name} runs already"
        self._process = self._spawn()
        try:
            await until(self._answers, f"{self.site.server_name} to start", seconds)
        except BaseException as error:
            await self.stop()
            raise AssertionError(f"{error}\n{self.output()[-4000:]}") from error

    async def stop(self, seconds: float = 30) -> None:
        """End the server with SIGTERM, and with SIGKILL when it has not ended in time."""
        await self._end(signal.SIGTERM, seconds)

    async def kill(self) -> None:
        """End the server as a power cut would."""
        await self._end(signal.SIGKILL, 30)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.output_path.open("ab") as output:
            return subprocess.Popen(
                self.net.command(self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    async def _end(self, with_signal: signal.Signals, seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            self.exit_code = await asyncio.to_thread(process.wait, seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            self.exit_code = await asyncio.to_thread(process.wait)

    async def _answers(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"{self.site.server_name} ended while it started")
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.site.client_url}/_matrix/client/versions") as response,
            ):
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False
