"""How federation goes with each server: Synapse's admin API, and the operator's own request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config import load_signing_keys
from homeserver.federation.errors import FederationError
from homeserver.federation.operator_requests import operator_request
from homeserver.services.clock import now_ms
from homeserver.services.operator import RETRY
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.federation_peer import FederationPeer
from tests.support.network import until
from tests.support.whole import V3, WholeServer, create_room, say

DESTINATIONS = "/_synapse/admin/v1/federation/destinations"


@pytest.fixture
async def ours(authority: Authority, tmp_path: Path, peer: FederationPeer) -> AsyncIterator[WholeServer]:
    async with WholeServer(authority, tmp_path, (peer.server_name,)) as running:
        yield running


async def shared_room(ours: WholeServer, peer: FederationPeer) -> tuple[Client, str]:
    """A room of the peer's that our alice is in."""
    alice, room = await ours.register("alice"), peer.room("10")
    (await alice.post(f"{V3}/join/{quote(room.room_id)}?via={peer.server_name}", {})).ok()
    return alice, room.room_id


async def until_seen(client: Client, name: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """What is told of a destination, once the condition holds."""
    found: dict[str, Any] = {}

    async def holds() -> bool:
        answer = await client.get(f"{DESTINATIONS}/{name}")
        if answer.status != 200:
            return False
        found.update(answer.ok())
        return bool(condition(found))

    await until(holds, f"{name} to be as it should")
    return found


def is_healthy(destination: dict[str, Any]) -> bool:
    """Whether it has answered last."""
    return destination["state"] == "healthy" and bool(destination["last_success_ts"])


async def test_a_server_goes_and_comes_back(ours: WholeServer, peer: FederationPeer) -> None:
    root = await ours.register_admin("root")
    alice, room_id = await shared_room(ours, peer)
    name = peer.server_name
    await say(alice, room_id, "hello")
    healthy = await until_seen(root, name, is_healthy)
    assert healthy["queue_length"] == 0 and healthy["failure_ts"] is None and healthy["retry_interval"] == 0
    (await root.post(f"{DESTINATIONS}/{name}/reset_connection", {})).refused(400, "M_UNKNOWN")

    await peer.stop()
    await say(alice, room_id, "is anybody there?")
    failing = await until_seen(root, name, lambda told: told["failures"])
    assert failing["state"] in ("backing_off", "retrying")
    assert failing["queue_length"] == 1
    assert "refused" in failing["last_failure_reason"].lower()
    assert failing["failure_ts"] <= failing["retry_last_ts"] <= failing["retry_at_ts"]
    listed = (await root.get(DESTINATIONS)).ok()
    assert listed["total"] == 1 and listed["destinations"][0]["destination"] == name

    await peer.start()
    answer = await root.post(f"{DESTINATIONS}/{name}/reset_connection", {})
    assert answer.status in (200, 400)  # 400: its next try has come by itself just now
    assert (await until_seen(root, name, is_healthy))["queue_length"] == 0


async def test_the_rooms_that_are_shared(ours: WholeServer, peer: FederationPeer) -> None:
    root = await ours.register_admin("root")
    _, room_id = await shared_room(ours, peer)
    rooms = (await root.get(f"{DESTINATIONS}/{peer.server_name}/rooms")).ok()
    assert rooms == {"rooms": [{"room_id": room_id}], "total": 1}
    (await root.get(f"{DESTINATIONS}/unknown.example/rooms")).refused(404, "M_NOT_FOUND")
    (await root.get(f"{DESTINATIONS}/unknown.example")).refused(404, "M_NOT_FOUND")
    (await root.post(f"{DESTINATIONS}/unknown.example/reset_connection", {})).refused(404, "M_NOT_FOUND")


async def test_what_was_refused_to_a_server_is_told(ours: WholeServer, peer: FederationPeer) -> None:
    root = await ours.register_admin("root")
    room_id = await create_room(root)
    path = f"/_matrix/federation/v1/state/{quote(room_id)}"
    with pytest.raises(FederationError):
        await peer.client.request(ours.server_name, "GET", path, query={"event_id": "$x"})
    told = await until_seen(root, peer.server_name, lambda told: told["inbound_errors"])
    (error,) = told["inbound_errors"]
    assert error["request"].startswith("GET /_matrix/federation/v1/state/")
    assert error["error"].startswith("M_FORBIDDEN: ")


async def test_only_administrators(ours: WholeServer) -> None:
    alice = await ours.register("alice")
    for path in (DESTINATIONS, f"{DESTINATIONS}/a.example", f"{DESTINATIONS}/a.example/rooms"):
        (await alice.get(path)).refused(403, "M_FORBIDDEN")
        (await ours.client.get(path)).refused(401, "M_MISSING_TOKEN")
    (await alice.post(f"{DESTINATIONS}/a.example/reset_connection", {})).refused(403, "M_FORBIDDEN")


async def test_parameters(ours: WholeServer) -> None:
    root = await ours.register_admin("root")
    for query in ("from=-1", "limit=x", "order_by=nothing", "dir=up"):
        (await root.get(f"{DESTINATIONS}?{query}")).refused(400, "M_INVALID_PARAM")
    assert (
        await root.get(f"{DESTINATIONS}?from=5&limit=1&order_by=failure_ts&dir=b&destination=x")
    ).ok() == {
        "destinations": [],
        "total": 0,
    }


async def test_the_operator_asks_with_the_servers_own_key(ours: WholeServer) -> None:
    key = load_signing_keys(ours.signing_key_path)[0]
    path = "/_homeserver/v1/federation/retry"

    def body(purpose: str = RETRY, age_ms: int = 0) -> dict[str, Any]:
        return operator_request(
            purpose, {"destination": "a.example"}, ours.server_name, key, now_ms() - age_ms
        )

    (await ours.client.post(path, body())).refused(404, "M_NOT_FOUND")
    (await ours.client.post(path, body("something else"))).refused(403, "M_FORBIDDEN")
    (await ours.client.post(path, body(age_ms=120_000))).refused(403, "M_FORBIDDEN")
    (await ours.client.post(path, {**body(), "destination": "b.example"})).refused(403, "M_FORBIDDEN")
    (await ours.client.post(path, {"destination": "a.example"})).refused(403, "M_FORBIDDEN")
