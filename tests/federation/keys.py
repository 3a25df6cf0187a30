"""Servers with signing keys, a store of keys in memory, and events signed by them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web
from nacl.signing import SigningKey
from signedjson.key import generate_signing_key

from homeserver.core.events import Event, make_event
from homeserver.core.room_versions import rules_for
from homeserver.federation.key_responses import StoredKeys, TrustedKeyServer
from homeserver.federation.key_ring import KeyRing
from homeserver.federation.own_keys import OldVerifyKey, OwnKeys, server_keys, sign_as_notary
from tests.federation.world import Peer, World

KEY_PATH = "/_matrix/key/v2/server"
QUERY_PATH = "/_matrix/key/v2/query"
DAY = 24 * 3600 * 1000
NOW = 1_700_000_000_000
ROOM = "!room:a.example"


class MemoryStore:
    """A KeyStore. `loads` counts the questions."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKeys] = {}
        self.loads = 0

    async def load(self, server_names: Collection[str]) -> Mapping[str, StoredKeys]:
        """What was saved."""
        self.loads += 1
        return {name: self.stored[name] for name in server_names if name in self.stored}

    async def save(self, keys: Sequence[StoredKeys]) -> None:
        """Keep."""
        self.stored |= {each.server_name: each for each in keys}


def keys_of(name: str, version: str = "1", old: Mapping[str, OldVerifyKey] | None = None) -> OwnKeys:
    """A server's keys, newly made."""
    return OwnKeys(name, [generate_signing_key(version)], old)


async def key_server(world: World, own: OwnKeys, number: int, validity: int = DAY) -> Peer:
    """A server NAME:8448-without-port that publishes its keys."""
    host = own.server_name.partition(":")[0]
    world.dns.replace(host, "A", world.address(number))
    peer = await world.peer(host, number=number)
    peer.answer("GET", KEY_PATH, server_keys(own, int(world.now * 1000), validity))
    return peer


async def notary_server(world: World, own: OwnKeys, number: int, *known: dict[str, Any]) -> Peer:
    """A server that signs the key responses `known`, of the servers that it is asked for."""
    world.dns.replace(own.server_name, "A", world.address(number))
    peer = await world.peer(own.server_name, number=number)

    async def query(request: web.Request) -> web.Response:
        wanted = (await request.json())["server_keys"]
        found = [sign_as_notary(each, own) for each in known if each["server_name"] in wanted]
        return web.json_response({"server_keys": found})

    peer.handle("POST", QUERY_PATH, query)
    return peer


def ring_of(
    world: World, store: MemoryStore | None = None, notaries: Sequence[TrustedKeyServer] = ()
) -> KeyRing:
    """A key ring of ours.example, on the world's clock."""
    own = OwnKeys("ours.example", [world.signing_key])
    return KeyRing(world.client(), store or MemoryStore(), own, notaries, clock=lambda: int(world.now * 1000))


def event_by(
    own: OwnKeys, version: str = "10", *, key: SigningKey | None = None, ts: int = NOW, **changes: Any
) -> Event:
    """A message of a user of that server."""
    rules = rules_for(version)
    fields: dict[str, Any] = {
        "room_id": ROOM,
        "type": "m.room.message",
        "sender": f"@u:{own.server_name}",
        "content": {"body": "hello", "msgtype": "m.text"},
        "state_key": None,
        "prev_events": [],
        "auth_events": [],
        "depth": 1,
        "origin_server_ts": ts,
        "event_id": f"$1:{own.server_name}" if version in ("1", "2") else None,
    }
    return make_event(
        rules, server_name=own.server_name, signing_key=key or own.signing_key, **(fields | changes)
    )
