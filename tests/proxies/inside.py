"""Runs in a network namespace of its own, where ports 443 and 8008 are free: our server, the proxy, a peer, and the doctor.

python -m tests.proxies.inside PROGRAM DIRECTORY

Prints one line of JSON: what was seen with the page's block and with each mistake.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from homeserver.app import serve
from homeserver.config import Settings, load_signing_keys, settings_from
from homeserver.config.signing_key import create_signing_key
from homeserver.doctor import Examination, Examiner, Level, Own, Probes, ProbeSettings
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.own_keys import OwnKeys
from tests.doctor.chains import Maker
from tests.support.client import Client
from tests.support.homeserver_yaml import RATE_LIMITS
from tests.support.network import until
from tests.support.whole import V3, create_room, register, say

from .mistakes import MISTAKES
from .programs import PROGRAMS, Program, block, homeserver_yaml

LOOPBACK = "127.0.0.0/8"
PEER = "peer.test:9448"
CLIENT_ADDRESS = "127.0.0.9"
LONG_POLL_S = 30.0
TAKES_LONG = ("long-poll-cut", "upload-cut", "upload-limit")


def make_certificates(directory: Path) -> Maker:
    """fullchain.pem, cert.pem, privkey.pem and the files in which HAProxy wants them; and the authority's own, authority.pem."""
    maker = Maker(directory)
    chain = maker.files(directory, "example.org")
    (directory / "example.org.pem").write_bytes(chain["fullchain.pem"] + chain["privkey.pem"])
    (directory / "leaf.pem").write_bytes(chain["cert.pem"] + chain["privkey.pem"])
    return maker


def common(directory: Path, name: str) -> dict[str, Any]:
    """What both servers have in their homeserver.yaml."""
    key = directory / f"{name}.signing.key"
    create_signing_key(key)
    return {
        "database": {"name": "sqlite3", "args": {"database": str(directory / f"{name}.db")}},
        "signing_key_path": str(key),
        "data_directory": str(directory / name),
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "trusted_key_servers": [],
        "federation_custom_ca_list": [str(directory / "root.pem")],
        "ip_range_allowlist": [LOOPBACK],
        **RATE_LIMITS,
    }


def ours(directory: Path) -> Settings:
    """The page's homeserver.yaml."""
    return settings_from({**homeserver_yaml(), **common(directory, "ours")}, base=directory).settings


def theirs(directory: Path, maker: Maker) -> Settings:
    """A server without a proxy."""
    files = directory / "peer"
    files.mkdir()
    maker.files(files, "peer.test")
    listener = {
        "port": 9448,
        "bind_addresses": ["127.0.0.1"],
        "tls": True,
        "resources": [{"names": ["client", "federation"]}],
    }
    certificate = {
        "tls_certificate_path": str(files / "fullchain.pem"),
        "tls_private_key_path": str(files / "privkey.pem"),
    }
    settings = {"server_name": PEER, "listeners": [listener], **certificate, **common(directory, "theirs")}
    return settings_from(settings, base=directory).settings


@asynccontextmanager
async def running(program: Program, directory: Path, changed_block: str) -> AsyncIterator[None]:
    """The proxy, until it listens."""
    configuration = directory / f"{program.name}.conf"
    configuration.write_text(program.configuration(directory, changed_block), encoding="utf-8")
    log = directory / f"{program.name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *program.command(directory, configuration), stdout=output, stderr=output, cwd=directory
        )
    try:
        await listening(process, log)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def listening(process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait until port 443 can be connected to."""
    async with asyncio.timeout(20):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the proxy ended: {last_words(log)}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", 443)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def last_words(log: Path) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-2000:]


async def examine(settings: Settings, long_poll_s: float) -> Examination:
    """The doctor, on the server's own machine."""
    keys = OwnKeys("example.org", load_signing_keys(settings.keys.signing_key_path))
    own = Own(
        keys,
        str(settings.server.public_baseurl),
        settings.media.max_upload_size,
        long_poll_s,
        is_delegated=True,
    )
    probes = Probes(ProbeSettings(AddressFilter(()), settings.federation.federation_custom_ca_list))
    try:
        return await Examiner(probes, AddressFilter(allowlist=[LOOPBACK]), own).examine("example.org")
    finally:
        await probes.close()


def told(examination: Examination) -> list[list[str]]:
    """Code, what was found and remedy of each finding that wants something done."""
    levels = (Level.PROBLEM, Level.WARNING)
    return [[each.code, each.found, each.remedy] for each in examination.findings if each.level in levels]


async def converse(directory: Path) -> list[str]:
    """Joins both ways through the proxy, and what each then says to the other; returns what went over."""
    context = ssl.create_default_context(cafile=str(directory / "root.pem"))
    connector = aiohttp.TCPConnector(ssl=context, local_addr=(CLIENT_ADDRESS, 0))
    async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:
        alice = await register(Client(session, "https://example.org"), "alice")
        bob = await register(Client(session, f"https://{PEER}"), "bob")
        heard = []
        for owner, guest, name in ((alice, bob, "example.org"), (bob, alice, PEER)):
            room_id = await create_room(owner, room_alias_name="lobby")
            (await guest.post(f"{V3}/join/{quote(f'#lobby:{name}')}", {})).ok()
            for sender, reader in ((guest, owner), (owner, guest)):
                await arrives(reader, room_id, await say(sender, room_id, f"hello by {sender.user_id}"))
                heard.append(f"{sender.user_id} in #lobby:{name}")
        return heard


async def arrives(reader: Client, room_id: str, event_id: str) -> None:
    """Wait until an event is there."""
    path = f"{V3}/rooms/{quote(room_id)}/event/{quote(event_id)}"

    async def is_there() -> bool:
        return (await reader.get(path)).status == 200

    await until(is_there, f"{event_id} to arrive")


class Addresses(logging.Handler):
    """The client addresses in the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self.seen.update(word for word in record.getMessage().split() if word.startswith("127."))


async def main(arguments: Sequence[str]) -> dict[str, Any]:
    """See the module."""
    program, directory = PROGRAMS[arguments[0]], Path(arguments[1])
    maker = make_certificates(directory)
    addresses = Addresses()
    logger = logging.getLogger("homeserver.access")
    logger.setLevel(logging.INFO)
    logger.addHandler(addresses)
    settings = ours(directory)
    servers = [await serve(settings), await serve(theirs(directory, maker))]
    seen: dict[str, Any] = {"mistakes": {}}
    try:
        async with running(program, directory, block(program.name)):
            seen["good"], seen["heard"] = await asyncio.gather(good(settings), converse(directory))
        for mistake in MISTAKES[program.name]:
            text = block(program.name)
            assert mistake.old in text, mistake
            async with running(program, directory, text.replace(mistake.old, mistake.new)):
                long_poll_s = 3.0 if mistake.code in TAKES_LONG else 0.0
                seen["mistakes"][mistake.name] = told(await examine(settings, long_poll_s))
    finally:
        for server in servers:
            await server.close()
    return {**seen, "addresses": sorted(addresses.seen)}


async def good(settings: Settings) -> list[list[str]]:
    """What there is to say of the page's block, a long poll of 30 seconds included."""
    return told(await examine(settings, LONG_POLL_S))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1:]))))
