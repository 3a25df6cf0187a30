"""pebble, the ACME server that Let's Encrypt made for tests, on loopback.

    async with Pebble(authority, directory, dns) as pebble:
        ... pebble.directory_url, pebble.ca_file, await pebble.root() ...

It looks for the names of `dns`, a `DNSServer`, at `http_port` and `tls_port` of their addresses, in the place of 80 and 443.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest

from tests.support.authority import CertificateAuthority
from tests.support.dns import DNSServer
from tests.support.whole import free_address

NUMBER = 230
"""Of its address, and of the address at which it looks for everything."""
REPOSITORY = Path(__file__).resolve().parents[2]
BLOCKED = "blocked.example"
"""A name for which it gives no certificates."""


def program() -> str:
    """pebble: the one that scripts/test has made, or else the system's. Skips the test when there is none."""
    made = REPOSITORY / ".test-env/pebble/pebble"
    found = str(made) if made.exists() else shutil.which("pebble")
    if found is None:
        pytest.skip("pebble is missing: scripts/test installs it, with Go or as a package")
    return found


class Pebble:
    """The server; `async with` starts it, waits until it answers, and ends it. It remembers nothing from one start to the next."""

    def __init__(self, authority: CertificateAuthority, directory: Path, dns: DNSServer) -> None:
        places = [free_address(NUMBER) for _ in range(4)]
        self.host = places[0][0]
        self.http_port, self.tls_port, self._port, self._management_port = (port for _, port in places)
        self.directory_url = f"https://{self.host}:{self._port}/dir"
        self.ca_file = authority.certificate_path
        self._pair = authority.issue(self.host)
        self._directory = directory
        self._dns = dns
        self.validity_s = 7_776_000
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        configuration = {
            "listenAddress": f"{self.host}:{self._port}",
            "managementListenAddress": f"{self.host}:{self._management_port}",
            "certificate": str(self._pair.certificate_path),
            "privateKey": str(self._pair.key_path),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": [BLOCKED],
            "retryAfter": {"authz": 1, "order": 1},
            "certificateValidityPeriod": self.validity_s,
        }
        path = self._directory / f"pebble-{self._port}.json"
        path.write_text(json.dumps({"pebble": configuration}))
        self._log = path.with_suffix(".log")
        with self._log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(program(), "-config", str(path), "-dnsserver", self._dns.address, "-strict"),
                stdout=log,
                stderr=log,
                # Neither waiting before it looks, nor remembering that a name was proved, nor refusing some nonces by chance.
                env={
                    **os.environ,
                    "PEBBLE_VA_NOSLEEP": "1",
                    "PEBBLE_AUTHZREUSE": "0",
                    "PEBBLE_WFE_NONCEREJECT": "0",
                },
            )
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.get(self.directory_url)
                    return self
                except aiohttp.ClientError:
                    assert self._process.returncode is None, self.log()
                    await asyncio.sleep(0.02)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def get(self, url: str) -> bytes:
        """What it answers at an address."""
        trusting = ssl.create_default_context(cafile=str(self.ca_file))
        async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as response:
            return await response.read()

    async def root(self) -> ssl.SSLContext:
        """The settings of a client that trusts the certificates which it makes, and no others."""
        root = await self.get(f"https://{self.host}:{self._management_port}/roots/0")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=root.decode())
        return context

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def acme(self, *domains: str, **more: Any) -> dict[str, Any]:
        """The section `acme` of a server's settings that has it make certificates."""
        return {
            "enabled": True,
            "domains": list(domains),
            "directory_url": self.directory_url,
            "directory_ca_file": str(self.ca_file),
            "port": self.http_port,
            "bind_addresses": [self.host],
            **more,
        }
