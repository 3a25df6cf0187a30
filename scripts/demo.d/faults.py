"""Faults to show: each breaks beta in one way, has the doctor look, and mends it again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import client
import processes
import proxy
import yaml
from authority import Authority
from layout import Demo, Server

from homeserver.config import create_signing_key, load_settings
from homeserver.doctor import Examination
from homeserver.examining import examine

BROKEN = "beta"
TEN_MINUTES_S = 600.0


@dataclass(frozen=True)
class Fault:
    """what: is done to the server, in words; show: does it, has the doctor look, and mends it."""

    what: str
    show: Callable[[Demo, Server], Examination]


def looked_at(server: Server, name: str | None = None) -> Examination:
    """What the doctor says of a server, run beside it."""
    settings = load_settings(server.config_path).settings
    return asyncio.run(examine(name or server.server_name, settings, long_poll_s=0))


def _wrong_certificate(demo: Demo, server: Server) -> Examination:
    with _replaced(server, "tls.crt", "tls.key"), _replaced_by_authority(demo, server):
        _restart(server)
        examination = looked_at(server)
    _restart(server)
    return examination


@contextmanager
def _replaced_by_authority(demo: Demo, server: Server) -> Iterator[None]:
    """Another authority, which nobody trusts, has signed the certificate."""
    unknown = server.directory / "unknown-authority.pem"
    authority = Authority(unknown)
    authority.issue(f"{server.name}.localhost", server.directory / "tls.crt", server.directory / "tls.key")
    try:
        yield
    finally:
        unknown.unlink()


def _no_address(demo: Demo, server: Server) -> Examination:
    return looked_at(server, f"{server.name}.demo.invalid:{server.federation_port}")


def _decoding_proxy(demo: Demo, server: Server) -> Examination:
    return _behind_a_proxy(server, path=proxy.decoding)


def _wrong_clock(demo: Demo, server: Server) -> Examination:
    return _behind_a_proxy(server, seconds_ahead=TEN_MINUTES_S)


def _behind_a_proxy(server: Server, **mistake: object) -> Examination:
    """With the proxy on the server's federation port; the server itself is reached on its port for clients."""
    with _replaced(server, "homeserver.yaml"):
        settings = yaml.safe_load(server.config_path.read_text(encoding="utf-8"))
        plain = [each for each in settings["listeners"] if not each.get("tls")]
        settings["listeners"] = [
            {**each, "resources": [{"names": ["client", "federation"]}]} for each in plain
        ]
        server.config_path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        _restart(server)

        async def look() -> Examination:
            async with proxy.proxying(server.federation_port, server.client_url, server.directory, **mistake):  # type: ignore[arg-type]
                settings = load_settings(server.config_path).settings
                return await examine(server.server_name, settings, long_poll_s=0)

        examination = asyncio.run(look())
    _restart(server)
    return examination


def _wrong_key(demo: Demo, server: Server) -> Examination:
    with _replaced(server, "signing.key"):
        (server.directory / "signing.key").unlink()
        create_signing_key(server.directory / "signing.key")
        return looked_at(server)


FAULTS = {
    "tls": Fault("an authority that nobody knows signs its certificate", _wrong_certificate),
    "dns": Fault("it is looked for under a name that is not in the DNS", _no_address),
    "proxy": Fault("a reverse proxy in front of it decodes the paths of requests", _decoding_proxy),
    "clock": Fault("what answers for it has a clock that is ten minutes fast", _wrong_clock),
    "key": Fault("the signing key on its disk is another one than it started with", _wrong_key),
}


def _restart(server: Server) -> None:
    processes.stop([server])
    processes.start([server], client.answers)


@contextmanager
def _replaced(server: Server, *names: str) -> Iterator[None]:
    """These files may be changed meanwhile; afterwards they are as before, whatever happens."""
    kept = server.directory / "kept"
    kept.mkdir(exist_ok=True)
    for name in names:
        shutil.copy2(server.directory / name, kept / name)
    try:
        yield
    finally:
        for name in names:
            _put_back(kept / name, server.directory / name)
        kept.rmdir()


def _put_back(kept: Path, place: Path) -> None:
    shutil.copy2(kept, place)
    kept.unlink()
