"""A real Synapse as a peer: configured, started, stopped, and spoken to.

The environment .test-env/synapse is made by scripts/test from tests/interop/requirements-synapse.txt.
"""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from .homeserver_yaml import REGISTRATION_SHARED_SECRET, shared_configuration
from .network import Network, ServerProcess
from .person import Person, register

PYTHON = Path(__file__).resolve().parents[2] / ".test-env" / "synapse" / "bin" / "python"


class Synapse:
    """A Synapse in a `Network`, with a SQLite database of its own.

    `async with Synapse(net, "matrix.org") as synapse:` starts it and stops it. `config` is laid over its
    homeserver.yaml.
    """

    def __init__(self, net: Network, server_name: str, config: Mapping[str, Any] | None = None) -> None:
        if not PYTHON.exists():
            pytest.skip("there is no Synapse in .test-env/synapse: scripts/test makes it")
        self.server_name = server_name
        self.site = net.site(server_name)
        self.directory = net.directory / f"synapse-{server_name.replace(':', '_')}"
        self.directory.mkdir()
        self.database_path = self.directory / "homeserver.db"
        self.signing_key_path = self.directory / "signing.key"
        settings = {**self._configuration(net), **(config or {})}
        (self.directory / "homeserver.yaml").write_text(yaml.safe_dump(settings))
        (self.directory / "log.yaml").write_text(yaml.safe_dump(LOGGING))
        self.process = ServerProcess(
            net,
            self.site,
            [str(PYTHON), "-m", "synapse.app.homeserver", "-c", str(self.directory / "homeserver.yaml")],
            self.directory,
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
        """Stop it; everything it knows stays on disk for the next start."""
        await self.process.stop()

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

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read its database, for what no API shows."""
        connection = sqlite3.connect(f"file:{self.database_path}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def pdus(self, room_id: str) -> list[tuple[str, dict[str, Any]]]:
        """(event ID, PDU as other servers get it) of every event of a room, in the order it was stored."""
        found = []
        for event_id, text in self.rows(
            "SELECT event_id, json FROM event_json JOIN events USING (event_id, room_id)"
            " WHERE room_id = ? ORDER BY stream_ordering",
            room_id,
        ):
            pdu = json.loads(text)
            # What Synapse keeps for itself; only the age is for others, and it is no part of what was signed.
            pdu.pop("unsigned", None)
            found.append((event_id, pdu))
        return found

    def _configuration(self, net: Network) -> dict[str, Any]:
        return {
            **shared_configuration(net, self.site, self.directory),
            "database": {"name": "sqlite3", "args": {"database": str(self.database_path)}},
            "log_config": str(self.directory / "log.yaml"),
            "macaroon_secret_key": "macaroon secret of the tests",
            "form_secret": "form secret of the tests",
            "report_stats": False,
            "suppress_key_server_warning": True,
            "bcrypt_rounds": 4,
        }


LOGGING = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"output": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["output"]},
    "disable_existing_loggers": False,
}
