"""A scripted federation server inside the test process: it has rooms of its own, answers about them over HTTPS, notes how it
was asked, and misbehaves where a test tells it to.

    async with FederationPeer(authority, number=1) as peer:
        room = peer.room("10")
        alice = peer.user("alice")
        ...
        peer.answers["make_join"] = lambda request: {...}      # instead of the honest answer

Its name is an IP address with a port, so that no name has to be resolved.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

import pytest
from aiohttp import web
from signedjson.key import generate_signing_key

from homeserver.core.auth_rules import auth_keys
from homeserver.core.events import Event, StateKey, make_event, parse_pdu, reference_to
from homeserver.core.room_versions import EventIDFormat, rules_for
from homeserver.core.signing import sign_event_as
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.own_keys import OwnKeys, server_keys
from homeserver.federation.remote.invites import invite
from homeserver.federation.remote.membership import MembershipTemplate, make_join, send_join
from homeserver.federation.remote.transactions import send_transaction, transaction_body
from homeserver.federation.settings import OutboundSettings
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import now_ms
from tests.support.certificates import Authority

TOLD = ("m.room.create", "m.room.name", "m.room.join_rules")
SUBNET = f"127.87.{os.getpid() % 250}"


def outbound_settings(authority: Authority, **changes: Any) -> OutboundSettings:
    """Settings of a client that reaches the servers of a test."""
    defaults: dict[str, Any] = {
        "addresses": AddressFilter(allowlist=[f"{SUBNET}.0/24"]),
        "custom_ca_files": (authority.path,),
        "request_timeout": 10.0,
    }
    return OutboundSettings(**(defaults | changes))


async def until(condition: Callable[[], Any], *, seconds: float = 10) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- what is waited for is not always something that can tell
            await asyncio.sleep(0.005)


def bound_socket(number: int, port: int = 0) -> socket.socket:
    """A listening place on an address of the test's own; `port` 0: any."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((f"{SUBNET}.{number}", port))
    return listening


def name_of(listening: socket.socket) -> str:
    """The server name of who listens there."""
    host, port = listening.getsockname()
    return f"{host}:{port}"


class PeerRoom:
    """A room as the peer knows it: every event with the state before it. Nothing is judged: a test may put in what it likes."""

    def __init__(self, peer: FederationPeer, version: str, room_id: str | None = None) -> None:
        self.peer = peer
        self.rules = rules_for(version)
        self.events: dict[str, Event] = {}
        self.state_before: dict[str, dict[StateKey, str]] = {}
        self.heads: list[str] = []
        self.room_id = room_id or f"!room{len(peer.rooms)}:{peer.server_name}"
        self._count = 0

    @classmethod
    def made(
        cls, peer: FederationPeer, version: str, creator: str, join_rules: Mapping[str, Any]
    ) -> PeerRoom:
        """A room with its creator, power levels and join rules."""
        room = cls(peer, version)
        content: dict[str, Any] = {"room_version": version}
        if not room.rules.implicit_room_creator:
            content["creator"] = creator
        create = room.add("m.room.create", creator, content, "")
        if room.rules.room_id_is_create_hash:
            room.room_id = create.room_id
        room.add("m.room.member", creator, {"membership": "join"}, creator)
        users = {} if room.rules.privileged_creators else {creator: 100}
        room.add("m.room.power_levels", creator, {"users": users, "invite": 0}, "")
        room.add("m.room.join_rules", creator, join_rules, "")
        return room

    def state_after(self, event_id: str) -> dict[StateKey, str]:
        """The state with an event applied."""
        event = self.events[event_id]
        changed = {event.key: event_id} if event.is_state else {}
        return {**self.state_before[event_id], **changed}

    @property
    def state(self) -> dict[StateKey, str]:
        """The current state; that of the first head where there are several."""
        merged: dict[StateKey, str] = {}
        for head in reversed(self.heads):
            merged |= self.state_after(head)
        return merged

    def make(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        after: Sequence[str] | None = None,
        auth_events: Sequence[str] | None = None,
        **changes: Any,
    ) -> Event:
        """An event that follows the heads, or the events `after`; it is not put into the room."""
        heads = self.heads if after is None else list(after)
        state: dict[StateKey, str] = {}
        for head in reversed(heads):
            state |= self.state_after(head)
        if auth_events is None:
            keys = auth_keys(self.rules, event_type, sender, state_key, content)
            auth_events = [state[key] for key in sorted(keys) if key in state]
        self._count += 1
        is_create = event_type == "m.room.create"
        chosen = self.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
        fields: dict[str, Any] = {
            "server_name": self.peer.server_name,
            "signing_key": self.peer.signing_key,
            "room_id": None if is_create and self.rules.room_id_is_create_hash else self.room_id,
            "type": event_type,
            "sender": sender,
            "content": content,
            "state_key": state_key,
            "prev_events": [reference_to(self.events[event_id]) for event_id in heads],
            "auth_events": [reference_to(self.events[event_id]) for event_id in auth_events],
            "depth": 1 + max((self.events[event_id].depth for event_id in heads), default=0),
            # Rooms that are made in one millisecond differ also where the room ID is the hash of the create event.
            "origin_server_ts": now_ms() + self._count + len(self.peer.rooms),
            "event_id": f"$e{self._count}x{len(self.peer.rooms)}:{self.peer.server_name}" if chosen else None,
        }
        return make_event(self.rules, **(fields | changes))

    def put(self, event: Event) -> Event:
        """Make an event part of the room."""
        state: dict[StateKey, str] = {}
        for prev in reversed(event.prev_event_ids):
            if prev in self.events:
                state |= self.state_after(prev)
        self.events[event.event_id] = event
        self.state_before[event.event_id] = state
        self.heads = [head for head in self.heads if head not in event.prev_event_ids] + [event.event_id]
        return event

    def add(self, *args: Any, **kwargs: Any) -> Event:
        """`make` and `put`."""
        return self.put(self.make(*args, **kwargs))

    def say(self, sender: str, text: str, **kwargs: Any) -> Event:
        """A message."""
        return self.add("m.room.message", sender, {"msgtype": "m.text", "body": text}, **kwargs)

    def told(self) -> list[Mapping[str, Any]]:
        """What those outside are told of the room."""
        return [self.events[event_id].pdu for key, event_id in self.state.items() if key[0] in TOLD]

    def auth_chain(self, event_ids: Sequence[str]) -> list[str]:
        """The IDs of all that authorises these events."""
        chain: dict[str, None] = {}
        wanted = [auth for event_id in event_ids for auth in self.events[event_id].auth_event_ids_with_create]
        while wanted:
            event_id = wanted.pop()
            if event_id not in chain:
                chain[event_id] = None
                wanted += self.events[event_id].auth_event_ids_with_create
        return list(chain)


@dataclass(frozen=True)
class Asked:
    """A request that the peer was sent. `path`: the decoded segments after the endpoint's name."""

    endpoint: str
    path: list[str]
    query: dict[str, list[str]]
    body: Any


Answer = Callable[[Asked], Any]


@dataclass
class FederationPeer:
    """See the module. `answers` replaces what an endpoint answers: a function of `Asked` that returns JSON, a `web.StreamResponse`,
    or an awaitable of either; it may call `honest` for the true answer."""

    authority: Authority
    number: int = 1
    rooms: dict[str, PeerRoom] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signing_key = generate_signing_key("peer")
        self._socket = bound_socket(self.number)
        self.server_name = name_of(self._socket)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        self.client = FederationClient(self.server_name, self.signing_key, outbound_settings(self.authority))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.stop()

    async def start(self) -> None:
        """Listen, again at the same address after `stop`."""
        if self._socket.fileno() == -1:
            self._socket = bound_socket(self.number, int(self.server_name.rpartition(":")[2]))
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._respond)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = self.authority.server_context(f"{SUBNET}.{self.number}")
        await web.SockSite(self._runner, self._socket, ssl_context=context).start()

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def user(self, localpart: str) -> str:
        """A user ID of this server."""
        return f"@{localpart}:{self.server_name}"

    def room(self, version: str = "10", *, join_rules: Mapping[str, Any] | None = None) -> PeerRoom:
        """A room that @alice has made."""
        room = PeerRoom.made(self, version, self.user("alice"), join_rules or {"join_rule": "public"})
        self.rooms[room.room_id] = room
        return room

    async def send(
        self, destination: str, *events: Event | Mapping[str, Any], **options: Any
    ) -> dict[str, str | None]:
        """Send a transaction; returns what is answered of each event."""
        pdus = [event.canonical if isinstance(event, Event) else _encoded(event) for event in events]
        transaction_id = options.pop("transaction_id", f"t{now_ms()}{len(self.asked)}{os.urandom(4).hex()}")
        body = transaction_body(self.server_name, now_ms(), pdus, options.pop("edus", ()))
        return await send_transaction(self.client, destination, transaction_id, body)

    async def join_event(self, destination: str, room_id: str, user_id: str, version: str) -> Event:
        """Ask for a template and make the join event of it."""
        template = await make_join(self.client, destination, room_id, user_id, [version])
        return self.member_event(template, room_id, user_id, "join")

    def member_event(
        self, template: MembershipTemplate, room_id: str, user_id: str, membership: str, **changes: Any
    ) -> Event:
        """The event that is asked for with a template."""
        content = {"membership": membership}
        if template.authorised_via is not None:
            content["join_authorised_via_users_server"] = template.authorised_via
        chosen = template.rules.event_id_format is EventIDFormat.SERVER_CHOSEN
        fields: dict[str, Any] = {
            "server_name": self.server_name,
            "signing_key": self.signing_key,
            "room_id": room_id,
            "type": "m.room.member",
            "sender": user_id,
            "content": content,
            "state_key": user_id,
            "prev_events": template.prev_events,
            "auth_events": template.auth_events,
            "depth": template.depth,
            "origin_server_ts": now_ms(),
            "event_id": f"$m{os.urandom(4).hex()}:{self.server_name}" if chosen else None,
        }
        return make_event(template.rules, **(fields | changes))

    def invite_event(self, room: PeerRoom, user_id: str, **changes: Any) -> Event:
        """An invite by @alice that is not in the room yet."""
        return room.make("m.room.member", self.user("alice"), {"membership": "invite"}, user_id, **changes)

    async def invite(self, destination: str, room: PeerRoom, user_id: str, **content: Any) -> Event:
        """Have @alice invite a user of another server, and put the event with both signatures into the room."""
        whole = {**content, "membership": "invite"}
        event = room.make("m.room.member", self.user("alice"), whole, user_id)
        return room.put(await invite(self.client, destination, event, room.told()))

    async def join(self, destination: str, room_id: str, user_id: str, version: str) -> PeerRoom:
        """Join a room of another server; returns it as this server knows it then."""
        event = await self.join_event(destination, room_id, user_id, version)
        joined = await send_join(self.client, destination, event)
        room = PeerRoom(self, version, room_id)
        for each in (*joined.auth_chain.events, *joined.state.events):
            room.events[each.event_id] = each
            room.state_before[each.event_id] = {}
        signed = joined.event or event
        room.events[signed.event_id] = signed
        room.state_before[signed.event_id] = {each.key: each.event_id for each in joined.state.events}
        room.heads = [signed.event_id]
        self.rooms[room_id] = room
        return room

    def asked_for(self, endpoint: str) -> list[Asked]:
        """The requests to one endpoint, in their order."""
        return [asked for asked in self.asked if asked.endpoint == endpoint]

    def received(self) -> list[dict[str, Any]]:
        """The PDUs that were sent here, in their order."""
        return [pdu for asked in self.asked_for("send") for pdu in asked.body["pdus"]]

    def edus(self) -> list[dict[str, Any]]:
        """The EDUs that were sent here, in their order."""
        return [edu for asked in self.asked_for("send") for edu in asked.body.get("edus", [])]

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        segments = [unquote(part) for part in request.raw_path.partition("?")[0].split("/")[1:]]
        if segments[:2] == ["_matrix", "key"]:
            endpoint, path = "keys", segments[3:]
        else:
            endpoint, path = segments[3], segments[4:]
            if endpoint == "send_join" and segments[2] == "v1":
                endpoint = "send_join_v1"
        body = await request.json() if request.can_read_body else None
        query: dict[str, list[str]] = {}
        for name, value in request.query.items():
            query.setdefault(name, []).append(value)
        asked = Asked(endpoint, path, query, body)
        self.asked.append(asked)
        answer = self.answers.get(endpoint, self.honest)(asked)
        if inspect.isawaitable(answer):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    def honest(self, asked: Asked) -> Any:
        """What a good server would answer."""
        answer = getattr(self, f"_{asked.endpoint}", None)
        if answer is None:
            return error(404, "M_UNRECOGNIZED", f"no {asked.endpoint} here")
        try:
            return answer(asked)
        except KeyError as missing:
            return error(404, "M_NOT_FOUND", f"unknown: {missing}")

    def _keys(self, _: Asked) -> Any:
        return server_keys(OwnKeys(self.server_name, [self.signing_key]), now_ms())

    def _query(self, asked: Asked) -> Any:
        room_id = self.aliases[asked.query["room_alias"][0]]
        return {"room_id": room_id, "servers": [self.server_name]}

    def _send(self, asked: Asked) -> Any:
        for pdu in asked.body["pdus"]:
            room = self.rooms.get(pdu.get("room_id", ""))
            if room is not None:
                room.put(parse_pdu(pdu, room.rules))
        return {"pdus": {}}

    def _make_join(self, asked: Asked) -> Any:
        return self._template(asked, "join")

    def _make_leave(self, asked: Asked) -> Any:
        return self._template(asked, "leave")

    def _make_knock(self, asked: Asked) -> Any:
        return self._template(asked, "knock")

    def _template(self, asked: Asked, membership: str) -> Any:
        room_id, user_id = asked.path
        room = self.rooms[room_id]
        event = room.make("m.room.member", user_id, {"membership": membership}, user_id)
        left_out = ("hashes", "signatures", "event_id")
        template = {name: value for name, value in event.pdu.items() if name not in left_out}
        return {"room_version": room.rules.version, "event": {**template, "origin": self.server_name}}

    def _send_leave(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        room.put(parse_pdu(asked.body, room.rules))
        return {}

    def _send_knock(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        room.put(parse_pdu(asked.body, room.rules))
        return {"knock_room_state": room.told()}

    def _invite(self, asked: Asked) -> Any:
        event = parse_pdu(asked.body["event"], rules_for(asked.body["room_version"]))
        return {"event": sign_event_as(event, self.server_name, self.signing_key).pdu}

    def _send_join(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        event = sign_event_as(parse_pdu(asked.body, room.rules), self.server_name, self.signing_key)
        room.put(event)
        state = list(room.state_before[event.event_id].values())
        return {
            "state": self._pdus(room, state),
            "auth_chain": self._pdus(room, room.auth_chain([event.event_id, *state])),
            "event": event.pdu,
        }

    def _send_join_v1(self, asked: Asked) -> Any:
        return [200, self._send_join(asked)]

    def _state(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        state = list(room.state_before[asked.query["event_id"][0]].values())
        return {"pdus": self._pdus(room, state), "auth_chain": self._pdus(room, room.auth_chain(state))}

    def _state_ids(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        state = list(room.state_before[asked.query["event_id"][0]].values())
        return {"pdu_ids": state, "auth_chain_ids": room.auth_chain(state)}

    def _event(self, asked: Asked) -> Any:
        for room in self.rooms.values():
            if asked.path[0] in room.events:
                return {"origin": self.server_name, "pdus": self._pdus(room, [asked.path[0]])}
        raise KeyError(asked.path[0])

    def _event_auth(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        return {"auth_chain": self._pdus(room, room.auth_chain([asked.path[1]]))}

    def _backfill(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        found = self._before(room, asked.query["v"], set(), int(asked.query["limit"][0]), with_start=True)
        return {"origin": self.server_name, "origin_server_ts": now_ms(), "pdus": self._pdus(room, found)}

    def _timestamp_to_event(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        wanted, backwards = int(asked.query["ts"][0]), asked.query["dir"] == ["b"]
        times = {event_id: event.origin_server_ts for event_id, event in room.events.items()}
        within = [each for each, time in times.items() if (time <= wanted if backwards else time >= wanted)]
        if not within:
            raise KeyError("no event")
        nearest = min(within, key=lambda event_id: abs(times[event_id] - wanted))
        return {"event_id": nearest, "origin_server_ts": times[nearest]}

    def _get_missing_events(self, asked: Asked) -> Any:
        room = self.rooms[asked.path[0]]
        earliest = set(asked.body["earliest_events"])
        found = self._before(room, asked.body["latest_events"], earliest, min(asked.body["limit"], 20))
        return {"events": self._pdus(room, found[::-1])}

    @staticmethod
    def _before(
        room: PeerRoom, start: Sequence[str], earliest: set[str], limit: int, *, with_start: bool = False
    ) -> list[str]:
        """Events before some, newest first."""
        found = [event_id for event_id in start if event_id in room.events] if with_start else []
        level = [room.events[event_id] for event_id in start if event_id in room.events]
        seen = {*start, *earliest}
        while level and len(found) < limit:
            wanted = dict.fromkeys(
                prev for event in level for prev in event.prev_event_ids if prev not in seen
            )
            seen.update(wanted)
            level = [room.events[event_id] for event_id in wanted if event_id in room.events]
            found += [event.event_id for event in level]
        return found[:limit]

    @staticmethod
    def _pdus(room: PeerRoom, event_ids: Sequence[str]) -> list[Mapping[str, Any]]:
        return [room.events[event_id].pdu for event_id in event_ids]


@pytest.fixture
async def peer(authority: Authority) -> AsyncIterator[FederationPeer]:
    """Another server."""
    async with FederationPeer(authority) as server:
        yield server


def error(status: int, errcode: str, message: str) -> web.Response:
    """A standard error response."""
    return web.json_response({"errcode": errcode, "error": message}, status=status)


def _encoded(pdu: Mapping[str, Any]) -> bytes:
    return json.dumps(pdu, sort_keys=True, separators=(",", ":")).encode()
