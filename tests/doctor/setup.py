"""A Matrix server of the test's own, healthy until a test breaks one thing of it, in the small internet of the federation tests."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from signedjson.key import generate_signing_key

from homeserver.certificate_files import CertificateFiles
from homeserver.core.errors import MatrixError
from homeserver.doctor import Examination, Examiner, Level, Own, Probes, ProbeSettings
from homeserver.doctor.echo import ECHO, HEAD_BYTES, UPLOAD, WAIT, Echoes, what_arrived
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.operator_requests import OperatorRequests
from homeserver.federation.own_keys import OwnKeys, server_keys
from tests.federation.world import SUBNET, WELL_KNOWN_PORT, Peer, World

NAME = "matrix.example"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
}


def now_ms() -> int:
    """The real time."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Arrived:
    """A request as it gets to the server, after whatever stands in front of it."""

    method: str
    target: str
    host: str
    body: bytes
    authorization: tuple[str, ...]


Rewrite = Callable[[Arrived], Arrived]


def changed(**functions: Callable[[Any], Any]) -> Rewrite:
    """A proxy that changes some fields of every request."""
    return lambda arrived: replace(
        arrived, **{name: function(getattr(arrived, name)) for name, function in functions.items()}
    )


def on_path(function: Callable[[str], str]) -> Rewrite:
    """A proxy that changes paths."""

    def rewrite(target: str) -> str:
        path, mark, query = target.partition("?")
        return function(path) + mark + query

    return changed(target=rewrite)


@dataclass
class Setup:
    """The set-up. Change its fields before `start`; `client_answers` and `answers` replace what a path answers."""

    world: World
    name: str = NAME
    certificate_names: tuple[str, ...] = (NAME,)
    context: ssl.SSLContext | None = None
    port: int = 8448
    address_number: int = 1
    rewrite: Rewrite = lambda arrived: arrived
    answers: dict[str, Callable[[Arrived], web.Response]] = field(default_factory=dict)
    date_offset_s: float = 0.0
    keys_name: str | None = None
    keys_offset_ms: int = 0
    keys_change: Callable[[dict[str, Any]], dict[str, Any]] = lambda keys: keys
    published: OwnKeys | None = None
    with_client_well_known: bool = True
    own: bool = True
    listeners: tuple[str, ...] = ()
    certificate_files: CertificateFiles | None = None
    is_delegated: bool = False
    upload_bytes: int = 256 * 1024
    client_address: str = "127.0.0.1"
    forwarded_for: tuple[str, ...] = ()
    refuses: str | None = None
    hangs_on: str | None = None
    address: str | None = None
    expect: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None

    def __post_init__(self) -> None:
        self.keys = OwnKeys(self.name, [generate_signing_key("a_1")])
        self.echoes = Echoes(OperatorRequests(self.keys, now_ms))
        self.web: Peer | None = None
        self.matrix: Peer | None = None

    @property
    def base_url(self) -> str:
        """Where clients go."""
        return f"https://{self.name.partition(':')[0]}:{self.port}"

    async def start(self) -> None:
        """The web site of the name, and the Matrix server."""
        await self.start_web()
        await self.start_matrix()

    async def start_web(self) -> None:
        """The web site, with what clients look for; nothing for servers."""
        self.world.dns.replace(self.name, "A", self.world.address(self.address_number))
        self.web = await self.world.peer(self.name, number=self.address_number, port=WELL_KNOWN_PORT)
        if self.with_client_well_known:
            client = {"m.homeserver": {"base_url": self.base_url}}
            self.web.answer("GET", "/.well-known/matrix/client", client, **CORS)

    async def start_matrix(self) -> None:
        """The Matrix server, with its proxy."""
        self.matrix = await self.world.peer(
            *self.certificate_names,
            number=self.address_number,
            port=self.port,
            context=self.context,
            address=self.address,
            expect=self.expect,
        )
        self.matrix.everything = self._serve

    async def examine(self) -> Examination:
        """What the doctor says, asked on the server's own machine unless `own` is False."""
        addresses = AddressFilter(allowlist=[f"{SUBNET}.0/24", "::1", "fd00:86::/64"])
        settings = ProbeSettings(
            AddressFilter(()), (self.world.authority.path,), (self.world.dns.address,), WELL_KNOWN_PORT
        )
        probes = Probes(settings)
        own = Own(
            self.keys,
            self.base_url,
            self.upload_bytes,
            long_poll_s=0.2,
            is_delegated=self.is_delegated,
            listeners=self.listeners,
            certificate_files=self.certificate_files,
        )
        try:
            return await Examiner(probes, addresses, own if self.own else None).examine(self.name)
        finally:
            await probes.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        arrived = self.rewrite(
            Arrived(
                request.method,
                request.raw_path,
                request.headers["Host"],
                await request.read(),
                tuple(request.headers.getall("Authorization", ())),
            )
        )
        response = await self._answer(arrived)
        response.headers["Date"] = formatdate(time.time() + self.date_offset_s, usegmt=True)
        return response

    async def _answer(self, arrived: Arrived) -> web.Response:
        path = arrived.target.partition("?")[0]
        if self.refuses is not None and self.refuses in path:
            return web.Response(status=404, text="Not Found")
        if path == self.hangs_on:
            await asyncio.sleep(30)
        if (special := self.answers.get(path) or self.answers.get("*")) is not None:
            return special(arrived)
        if arrived.method == "OPTIONS":
            return web.Response(status=200, headers=CORS)
        if path == "/_matrix/federation/v1/version":
            return matrix({"server": {"name": "tested", "version": "1.0"}})
        if path == "/_matrix/key/v2/server":
            own = self.published or self.keys
            if self.keys_name is not None:
                own = OwnKeys(self.keys_name, own.signing_keys)
            return matrix(self.keys_change(server_keys(own, now_ms() + self.keys_offset_ms)))
        if path == "/_matrix/client/versions":
            return matrix({"versions": ["v1.11"]})
        if path == UPLOAD:
            self.echoes.check_upload(arrived.body[:HEAD_BYTES])
            return matrix({"bytes": len(arrived.body)})
        if unquote(path).startswith((ECHO, WAIT)) or "/homeserver.doctor/" in path:
            return self._probe(arrived)
        error = f"Unrecognized request: there is no {path}"
        return matrix({"errcode": "M_UNRECOGNIZED", "error": error}, 404)

    def _probe(self, arrived: Arrived) -> web.Response:
        try:
            self.echoes.check(json.loads(arrived.body))
        except (MatrixError, ValueError):
            return matrix({"errcode": "M_FORBIDDEN", "error": "not ours"}, 403)
        return matrix(
            what_arrived(
                arrived.method,
                arrived.target,
                arrived.host,
                self.client_address,
                self.forwarded_for,
                arrived.authorization,
            )
        )


def matrix(body: Any, status: int = 200) -> web.Response:
    """An answer of a Matrix server."""
    return web.json_response(body, status=status, headers=CORS)


def bad(examination: Examination) -> dict[str, Level]:
    """The codes of the findings that tell somebody to do something."""
    return {
        each.code: each.level for each in examination.findings if each.level in (Level.PROBLEM, Level.WARNING)
    }
