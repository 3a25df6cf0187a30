"""Credentials for a TURN server over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.config import VoIPSettings
from homeserver.config.values import Duration, Secret
from homeserver.core.requester import Requester
from homeserver.services.turn_server import TurnServer
from tests.support.whole import V3, WholeServer, create_room, send_path

URIS = ["turn:turn.test:3478?transport=udp", "turns:turn.test:443?transport=tcp"]
SHARED = {"turn_uris": URIS, "turn_shared_secret": "sesame", "turn_user_lifetime": "10m"}
ACCOUNT = {"turn_uris": URIS, "turn_username": "us", "turn_password": "pass"}


@pytest.mark.parametrize("whole_settings", [SHARED])
async def test_temporary_credentials(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    before = int(time.time())
    answer = (await alice.get(f"{V3}/voip/turnServer")).ok()
    expires, _, user_id = answer["username"].partition(":")
    assert user_id == alice.user_id and before + 600 <= int(expires) <= time.time() + 600
    mac = hmac.new(b"sesame", answer["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(answer["password"]) == mac
    assert answer["uris"] == URIS and answer["ttl"] == 600
    (await whole.client.get(f"{V3}/voip/turnServer")).refused(401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("whole_settings", [ACCOUNT])
async def test_an_account_for_all(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    answer = (await alice.get("/_matrix/client/r0/voip/turnServer")).ok()
    assert answer == {"username": "us", "password": "pass", "uris": URIS, "ttl": 3600}


@pytest.mark.parametrize("whole_settings", [{}, {"turn_uris": URIS}])
async def test_no_server(whole: WholeServer, whole_settings: Mapping[str, Any]) -> None:
    alice = await whole.register("alice")
    assert (await alice.get(f"{V3}/voip/turnServer")).ok() == {}


@pytest.mark.parametrize("is_allowed", [True, False])
def test_guests(is_allowed: bool) -> None:
    settings = VoIPSettings(
        turn_uris=("turn:turn.test",),
        turn_shared_secret=Secret("sesame"),
        turn_user_lifetime=Duration(60_000),
        turn_allow_guests=is_allowed,
    )
    server = TurnServer(settings, lambda: 5_000)
    guest, user = Requester("@g:test", "D", 1, is_guest=True), Requester("@u:test", "D", 2)
    assert bool(server.credentials(guest)) is is_allowed
    assert server.credentials(user)["username"] == "65:@u:test"


@pytest.mark.parametrize("whole_settings", [{}])
async def test_nobody_is_called_in_public_rooms(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    call = {"call_id": "c", "party_id": "p", "version": "1", "lifetime": 60_000, "offer": {}}
    public = await create_room(alice)
    answer = await alice.put(send_path(public, event_type="m.call.invite"), call)
    told = answer.refused(403, "M_FORBIDDEN")
    assert told["error"] == "Call invites are not allowed in public rooms."
    (await alice.put(send_path(public, event_type="m.call.hangup"), {"call_id": "c"})).ok()
    private = await create_room(alice, preset="private_chat")
    (await alice.put(send_path(private, event_type="m.call.invite"), call)).ok()
