"""The whole server and its peer on an event loop in a thread of their own, so that a test is the client and notices when the
loop stands still.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import uvloop

from homeserver.core.canonical_json import CanonicalJSONError, decode_json, encode_canonical
from homeserver.federation.authentication import authorization_header
from homeserver.http import Endpoint
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.federation_peer import FederationPeer, PeerRoom
from tests.support.whole import V3, WholeServer, complaints, create_room, membership, say

from .errcodes import KNOWN
from .specification import wrong_in

T = TypeVar("T")

OTHER_FORMS = re.compile('"event_fields"|"event_format" *: *"federation"')
"""In filters: the schemas are of whole events in the form for clients."""

SECONDS = 15.0
"""How long any request may take, also on a busy machine."""

# Without a TURN server there is nothing to tell clients, and its answer is empty.
SETTINGS = {"turn_uris": ["turn:turn.test"], "turn_shared_secret": "secret"}


@dataclass(frozen=True)
class FuzzedRequest:
    """A request as it goes on the wire. `signed`: it is to be signed by the peer; else `token` is sent."""

    method: str
    target: str
    body: bytes | None = None
    token: str | None = None
    signed: bool = False


@dataclass
class Scene:
    """What there is, for requests to name: users, rooms, events and so on, and who may send."""

    names: dict[str, list[str]]
    tokens: list[str]
    peer: FederationPeer
    peer_rooms: list[PeerRoom] = field(default_factory=list)


class _Connection(http.client.HTTPConnection):
    """Sends any target, as it is."""

    def _validate_path(self, url: str) -> None: ...

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")


class World:
    """See the module. Used from the test's thread."""

    def __init__(self, directory: Path, logged: list[str]) -> None:
        """`logged`: the complaints so far."""
        self.logged = logged
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()
        self._directory = directory
        self._connection: _Connection | None = None
        self.slowest = 0.0

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[World]:
        """Starts it and stops it; no error may be logged meanwhile, and the database must be sound in the end."""
        with complaints() as logged:
            world = cls(directory, logged)
            world._thread.start()
            try:
                world.run(world._start())
                yield world
                wrong = world.run(world.ours.violations(), seconds=120)
                assert not wrong, "\n".join(wrong)
            finally:
                try:
                    world.run(world._stack.aclose())
                finally:
                    world._loop.call_soon_threadsafe(world._loop.stop)
                    world._thread.join()
                    world._loop.close()
        assert not logged, "\n".join(logged)

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float = 30) -> T:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def _start(self) -> None:
        authority = Authority(self._directory)
        self.peer = await self._stack.enter_async_context(FederationPeer(authority, number=151))
        self.ours = await self._stack.enter_async_context(
            WholeServer(authority, self._directory, (self.peer.server_name,), number=152, more=SETTINGS)
        )
        self.alice, self.bob, self.dora = [
            await self.ours.register(name) for name in ("alice", "bob", "dora")
        ]
        self.peer_rooms = [self.peer.room(version) for version in ("1", "5", "10", "12")]
        for room in self.peer_rooms:
            zoe = self.peer.user("zoe")
            room.add("m.room.member", zoe, {"membership": "join"}, zoe)
            alice = self.peer.user("alice")
            levels = {zoe: 90} if room.rules.privileged_creators else {alice: 100, zoe: 90}
            room.add("m.room.power_levels", alice, {"users": levels, "invite": 0}, "")
            target = f"{V3}/join/{quote(room.room_id)}?server_name={self.peer.server_name}"
            (await self.alice.post(target)).ok()
        self.dull_room = await create_room(self.dora)

    async def scene(self, *, disposable: bool = False) -> Scene:
        """A room of its own, that bob is in; disposable: with an account of its own too."""
        number = len(list(self._directory.glob("scene-*")))
        (self._directory / f"scene-{number}").touch()
        alice = await self.ours.register(f"user{number}") if disposable else self.alice
        room_id = await create_room(
            alice, room_version=("12", "10", "6")[number % 3], room_alias_name=f"r{number}"
        )
        (await membership(self.bob, room_id, "join")).ok()
        spoken = await say(alice, room_id, "hello")
        state = (await alice.get(f"{V3}/rooms/{quote(room_id)}/state")).ok()
        page = (await alice.get(f"{V3}/rooms/{quote(room_id)}/messages?dir=b&limit=3")).ok()
        synced = (
            await alice.get(f"{V3}/sync?filter={quote(json.dumps({'room': {'rooms': [room_id]}}))}")
        ).ok()
        kept = (await alice.post(f"{V3}/user/{quote(alice.user_id)}/filter", {"room": {}})).ok()
        members = [event for event in state if event["type"] == "m.room.member"]
        peer_room = self.peer_rooms[number % len(self.peer_rooms)]
        names = {
            "room": [room_id, room_id, peer_room.room_id, self.dull_room, f"!gone:{self.peer.server_name}"],
            "alias": [f"#r{number}:{self.ours.server_name}", f"#new{number}:{self.ours.server_name}",
                      f"#theirs:{self.peer.server_name}"],
            "event": [spoken, *(event["event_id"] for event in members), *list(peer_room.events)[:4]],
            "user": [alice.user_id, self.bob.user_id, self.dora.user_id, self.ours.user_id("nobody"),
                     self.peer.user("alice"), self.peer.user("zoe")],
            "server": [self.peer.server_name, self.ours.server_name, "127.0.0.1:1"],
            "token": [synced["next_batch"], page["start"], page["end"]],
            "filter": [kept["filter_id"]],
        }  # fmt: skip
        tokens = [each.access_token or "" for each in (alice, alice, alice, self.bob, self.dora)]
        return Scene(names, tokens[:1] if disposable else tokens, self.peer, self.peer_rooms)

    def check(self, request: FuzzedRequest, endpoint: Endpoint | None = None) -> Any:
        """Send it and hold the answer against what every answer must be, and the specification's schema of the endpoint's answers.

        Returns the JSON of the answer.
        """
        started = time.monotonic()
        status, kind, content = self._exchange(request)
        took = time.monotonic() - started
        self.slowest = max(self.slowest, took)
        shown = f"{request.method} {request.target[:300]} {(request.body or b'')[:2000]!r} -> {status} {content[:500]!r}"
        if self.logged:
            complained = "\n".join(self.logged)
            self.logged.clear()  # so that the next test tells of its own
            raise AssertionError(f"{shown}\n{complained}")
        assert status < 500 or (status == 502 and b"M_" in content), shown
        assert took < SECONDS, f"{took:.1f} s: {shown}"
        if not kind.startswith("application/json"):
            assert status in (200, 204), shown
            return None
        body = decode_json(content)
        if status >= 400 and not (status == 401 and "flows" in body):
            assert body["errcode"] in KNOWN, shown
            assert isinstance(body["error"], str) and body["error"], shown
        if endpoint is not None and not OTHER_FORMS.search(unquote(request.target)):
            wrong = wrong_in(endpoint, status, body)
            assert not wrong, "\n".join([shown, *wrong])
        return body

    def sweep(self, scene: Scene, client: Client | None = None) -> None:
        """All that a user reads can still be read."""
        token = (client or self.alice).access_token
        rooms = [scene.names["room"][0], *(room.room_id for room in scene.peer_rooms)]
        tails = ("state", "members", "joined_members", "messages?dir=b&limit=50", "messages?dir=f&limit=50")
        targets = [f"/rooms/{quote(room_id)}/{tail}" for room_id in rooms for tail in tails]
        for target in (*targets, "/sync", "/publicRooms", "/joined_rooms"):
            self.check(FuzzedRequest("GET", V3 + target, token=token))

    def _exchange(self, request: FuzzedRequest) -> tuple[int, str, bytes]:
        headers = self._headers(request)
        for attempt in range(2):
            fresh = self._connection is None
            if self._connection is None:
                url = urlsplit(self.ours.base_url)
                self._connection = _Connection(url.hostname or "", url.port, timeout=4 * SECONDS)
            try:
                self._connection.request(request.method, request.target, request.body, headers)
                response = self._connection.getresponse()
                return response.status, response.headers.get("Content-Type", ""), response.read()
            except (ConnectionError, http.client.HTTPException):
                # The server may close a connection after an answer to a request that it did not read to the end.
                self._connection.close()
                self._connection = None
                if fresh or attempt:
                    raise
        raise AssertionError("unreachable")

    def _headers(self, request: FuzzedRequest) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json"}
        if request.token is not None:
            headers["Authorization"] = f"Bearer {request.token}"
        if request.signed:
            content = None
            if request.body:
                try:
                    content = encode_canonical(decode_json(request.body))
                except (CanonicalJSONError, RecursionError, ValueError):
                    content = None  # what is no JSON cannot be signed, only sent
            headers["Authorization"] = authorization_header(
                request.method,
                request.target,
                self.peer.server_name,
                self.ours.server_name,
                content,
                self.peer.signing_key,
            )
        return headers
