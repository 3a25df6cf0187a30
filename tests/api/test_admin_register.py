"""Transcripts: registration with the shared secret.

The protocol: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from homeserver.services.accounts import Accounts

from .conftest import Server, StartServer

PATH = "/_synapse/admin/v1/register"
SECRET = "shared secret"


@pytest.fixture
async def guarded(start_server: StartServer) -> Server:
    return await start_server(registration_shared_secret=SECRET, enable_registration=False)


async def signed(server: Server, secret: str = SECRET, **changes: Any) -> dict[str, Any]:
    """A registration of alice, with the HMAC of what it says before `changes`."""
    nonce = (await server.client.get(PATH)).ok()["nonce"]
    body = {"nonce": nonce, "username": "alice", "password": "pässword", "admin": False} | changes
    parts = [nonce, body["username"], body["password"], "admin" if body["admin"] else "notadmin"]
    if "user_type" in body:
        parts.append(body["user_type"])
    text = b"\0".join(part.encode() for part in parts)
    return {**body, "mac": hmac.new(secret.encode(), text, hashlib.sha1).hexdigest()}


async def test_a_registration(guarded: Server) -> None:
    answer = (await guarded.client.post(PATH, await signed(guarded))).ok()
    assert answer["user_id"] == "@alice:ours.test" and answer["home_server"] == "ours.test"
    alice = guarded.client.with_token(answer["access_token"])
    whoami = (await alice.get("/_matrix/client/v3/account/whoami")).ok()
    assert whoami["user_id"] == "@alice:ours.test" and whoami["device_id"] == answer["device_id"]
    account = await guarded.service(Accounts).get("@alice:ours.test")
    assert account is not None and not account.is_admin and account.user_type is None


async def test_an_administrator_and_a_bot(guarded: Server) -> None:
    (await guarded.client.post(PATH, await signed(guarded, admin=True))).ok()
    account = await guarded.service(Accounts).get("@alice:ours.test")
    assert account is not None and account.is_admin
    (await guarded.client.post(PATH, await signed(guarded, username="Robot", user_type="bot"))).ok()
    account = await guarded.service(Accounts).get("@robot:ours.test")
    assert account is not None and account.user_type == "bot" and not account.is_admin


@pytest.mark.parametrize(
    ("sent", "profile"),
    [
        ({}, {"displayname": "robot"}),
        ({"displayname": None}, {"displayname": "robot"}),
        ({"displayname": "R. Böt ♥"}, {"displayname": "R. Böt ♥"}),
        ({"displayname": "x" * 256}, {"displayname": "x" * 256}),
        ({"displayname": ""}, {}),
    ],
)
async def test_the_display_name(guarded: Server, sent: dict[str, Any], profile: dict[str, Any]) -> None:
    (await guarded.client.post(PATH, await signed(guarded, username="Robot", **sent))).ok()
    assert (await guarded.client.get("/_matrix/client/v3/profile/@robot:ours.test")).ok() == profile


@pytest.mark.parametrize(
    ("name", "errcode", "is_read"),
    [
        ("x" * 257, "M_INVALID_PARAM", True),
        ("a\0b", "M_INVALID_PARAM", True),
        ("\ud800", "M_NOT_JSON", False),
        (5, "M_BAD_JSON", False),
    ],
)
async def test_what_cannot_be_a_display_name(guarded: Server, name: Any, errcode: str, is_read: bool) -> None:
    body = await signed(guarded, displayname=name)
    (await guarded.client.post(PATH, body)).refused(400, errcode)
    assert await guarded.service(Accounts).get("@alice:ours.test") is None
    again = await guarded.client.post(PATH, {**body, "displayname": "Alice"})
    if is_read:
        again.refused(400, "M_UNKNOWN")  # its nonce is used up, as by all that is refused
    else:
        again.ok()


async def test_a_nonce_is_good_once_and_for_a_minute(guarded: Server) -> None:
    body = await signed(guarded)
    (await guarded.client.post(PATH, body)).ok()
    (await guarded.client.post(PATH, body)).refused(400, "M_UNKNOWN")
    (await guarded.client.post(PATH, {**body, "nonce": "made up"})).refused(400, "M_UNKNOWN")
    late = await signed(guarded, username="bob")
    guarded.clock.seconds += 61
    (await guarded.client.post(PATH, late)).refused(400, "M_UNKNOWN")


@pytest.mark.parametrize(
    "change",
    [{"admin": True}, {"password": "other"}, {"username": "eve"}, {"user_type": "bot"}, {"mac": "ä"}],
)
async def test_what_the_hmac_does_not_cover_is_refused(guarded: Server, change: dict[str, Any]) -> None:
    body = await signed(guarded)
    (await guarded.client.post(PATH, body | change)).refused(403, "M_FORBIDDEN")
    assert await guarded.service(Accounts).get("@alice:ours.test") is None


async def test_another_secret(guarded: Server) -> None:
    (await guarded.client.post(PATH, await signed(guarded, "guessed"))).refused(403, "M_FORBIDDEN")


async def test_the_account_must_be_possible(guarded: Server) -> None:
    for username in ("al ice", "", "alice@example.org"):
        body = await signed(guarded, username=username)
        (await guarded.client.post(PATH, body)).refused(400, "M_INVALID_USERNAME")
    for change in ({"password": ""}, {"password": "a\0b"}, {"username": "a\0b"}, {"user_type": "king"}):
        (await guarded.client.post(PATH, await signed(guarded, **change))).refused(400, "M_INVALID_PARAM")
    await guarded.user("alice")
    (await guarded.client.post(PATH, await signed(guarded))).refused(400, "M_USER_IN_USE")
    (await guarded.client.post(PATH, {"nonce": "x"})).refused(400, "M_BAD_JSON")


async def test_without_a_secret_there_is_no_such_thing(server: Server) -> None:
    (await server.client.get(PATH)).refused(404, "M_UNRECOGNIZED")
    body = {"nonce": "x", "username": "alice", "password": "x", "mac": "x"}
    (await server.client.post(PATH, body)).refused(404, "M_UNRECOGNIZED")
