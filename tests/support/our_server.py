"""This server as a process of its own, as an operator runs it."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from homeserver.config.signing_key import create_signing_key

from .homeserver_yaml import REGISTRATION_SHARED_SECRET, shared_configuration
from .network import Network, ServerProcess
from .person import Person, register

REPOSITORY = Path(__file__).resolve().parents[2]


class OurServer:
    """`python -m homeserver -c homeserver.yaml` in a `Network`, on SQLite unless `config` says otherwise.

    `async with OurServer(net, "ours.test") as ours:` starts it and stops it. `config` is laid over its
    homeserver.yaml.
    """

    def __init__(self, net: Network, server_name: str, config: Mapping[str, Any] | None = None) -> None:
        self.server_name = server_name
        self.site = net.site(server_name)
        self.directory = net.directory / f"ours-{server_name.replace(':', '_')}"
        self.directory.mkdir()
        self.config_path = self.directory / "homeserver.yaml"
        self.database_path = self.directory / "homeserver.db"
        self.signing_key_path = self.directory / "signing.key"
        settings = {
            **shared_configuration(net, self.site, self.directory),
            "database": {"name": "sqlite3", "args": {"database": str(self.database_path)}},
            **(config or {}),
        }
        self.config_path.write_text(yaml.safe_dump(settings))
        create_signing_key(self.signing_key_path)
        self.process = ServerProcess(
            net, self.site, [sys.executable, "-m", "homeserver", "-c", str(self.config_path)], self.directory
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        await self.process.start()

    async def stop(self) -> None:
        """Stop it with SIGTERM."""
        await self.process.stop()

    async def kill(self) -> None:
        """Stop it as a power cut would."""
        await self.process.kill()

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.stop()
        await self.start()

    async def register(self, localpart: str, *, admin: bool = False) -> Person:
        """A new user, logged in."""
        return await register(self.site.client_url, REGISTRATION_SHARED_SECRET, localpart, admin=admin)

    def log(self) -> str:
        """What it has logged and printed."""
        return self.process.output()

    def complaints(self, since: int = 0) -> list[str]:
        """What it has logged as an error or with a traceback, after the first `since` characters of the log."""
        return [
            line
            for line in self.log()[since:].splitlines()
            if re.search(r" (ERROR|CRITICAL) |^Traceback|^\w*(Error|Exception|Warning)\b", line)
        ]

    def forget_memory_peak(self) -> None:
        """Have `memory()` tell the most from now on: hashing a password takes more than most work does."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def memory(self) -> int:
        """The most memory it has used so far, in bytes (VmHWM)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("/proc shows no VmHWM")
