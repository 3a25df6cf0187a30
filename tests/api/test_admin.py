"""Transcripts: whois, locked and suspended accounts.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-administration
"""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.storage import devices
from tests.support.client import Client

from .conftest import Server

LOCK = "/_matrix/client/v1/admin/lock/"
SUSPEND = "/_matrix/client/v1/admin/suspend/"
WHOAMI = "/_matrix/client/v3/account/whoami"
LOGIN = "/_matrix/client/v3/login"
PASSWORD = {"type": "m.login.password", "user": "alice", "password": "the password"}
ALICE, NOBODY, ELSEWHERE = "@alice:ours.test", "@nobody:ours.test", "@alice:elsewhere.test"


@pytest.fixture
async def root(server: Server) -> Client:
    """An administrator."""
    return await server.user("root", is_admin=True)


@pytest.fixture
async def alice(server: Server) -> Client:
    """A user."""
    return await server.user("alice")


@pytest.mark.parametrize(("path", "key"), [(LOCK, "locked"), (SUSPEND, "suspended")])
async def test_who_may_do_it_to_whom(
    server: Server, root: Client, alice: Client, path: str, key: str
) -> None:
    other = await server.user("admin", is_admin=True)
    assert (await root.get(path + ALICE)).ok() == {key: False}
    for value in (True, False, False):
        assert (await root.put(path + ALICE, {key: value})).ok() == {key: value}
        assert (await root.get(path + ALICE)).ok() == {key: value}
    # Users who may not do it learn nothing of who there is.
    for user_id in (ALICE, NOBODY, ELSEWHERE):
        (await alice.get(path + user_id)).refused(403, "M_FORBIDDEN")
        (await alice.put(path + user_id, {key: True})).refused(403, "M_FORBIDDEN")
    for user_id, status, errcode in (
        (NOBODY, 404, "M_NOT_FOUND"),
        (ELSEWHERE, 400, "M_INVALID_PARAM"),
        ("alice", 400, "M_INVALID_PARAM"),
        (other.user_id, 403, "M_FORBIDDEN"),
    ):
        (await root.get(path + user_id)).refused(status, errcode)
        (await root.put(path + user_id, {key: True})).refused(status, errcode)
    (await root.put(path + root.user_id, {key: True})).refused(403, "M_FORBIDDEN")
    assert (await root.get(path + root.user_id)).ok() == {key: False}
    for body in ({}, {key: "yes"}, {key: None}):
        (await root.put(path + ALICE, body)).refused(400, "M_BAD_JSON")
    (await server.client.get(path + ALICE)).refused(401, "M_MISSING_TOKEN")


async def test_deactivated_accounts_are_not_found(server: Server, root: Client, alice: Client) -> None:
    auth = {"type": "m.login.password", "password": "the password"}
    (await alice.post("/_matrix/client/v3/account/deactivate", {"auth": auth})).ok()
    for path in (LOCK, SUSPEND, "/_matrix/client/v3/admin/whois/"):
        (await root.get(path + ALICE)).refused(404, "M_NOT_FOUND")


async def test_a_locked_user_can_log_out_and_nothing_else(
    server: Server, root: Client, alice: Client
) -> None:
    tokens = (await server.client.post(LOGIN, {**PASSWORD, "refresh_token": True})).ok()
    (await alice.get(WHOAMI)).ok()
    (await root.put(LOCK + ALICE, {"locked": True})).ok()
    for answer in (
        await alice.get(WHOAMI),
        await alice.get("/_matrix/client/versions"),
        await alice.post("/_matrix/client/v3/account/deactivate"),
        await server.client.post(LOGIN, PASSWORD),
        await server.client.post("/_matrix/client/v3/refresh", {"refresh_token": tokens["refresh_token"]}),
    ):
        assert answer.refused(401, "M_USER_LOCKED")["soft_logout"] is True
    wrong = {**PASSWORD, "password": "wrong"}
    (await server.client.post(LOGIN, wrong)).refused(403, "M_FORBIDDEN")
    (await root.put(LOCK + ALICE, {"locked": False})).ok()
    # The session is still there.
    (await alice.get(WHOAMI)).ok()
    (await root.put(LOCK + ALICE, {"locked": True})).ok()
    (await alice.post("/_matrix/client/v3/logout")).ok()
    (await alice.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    other = server.client.with_token(tokens["access_token"])
    (await other.post("/_matrix/client/v3/logout/all")).ok()


async def test_a_suspended_user_keeps_the_name_and_may_log_in_and_out(
    server: Server, root: Client, alice: Client
) -> None:
    (await root.put(SUSPEND + ALICE, {"suspended": True})).ok()
    profile = f"/_matrix/client/v3/profile/{ALICE}/displayname"
    body = {"displayname": "Alice"}
    (await alice.put(profile, body)).refused(403, "M_USER_SUSPENDED")
    (await alice.delete(profile)).refused(403, "M_USER_SUSPENDED")
    identifier = {"medium": "email", "address": "a@b"}
    for path in ("delete", "unbind"):
        (await alice.post(f"/_matrix/client/v3/account/3pid/{path}", identifier)).refused(
            403, "M_USER_SUSPENDED"
        )
    (await alice.get(WHOAMI)).ok()
    session = (await server.client.post(LOGIN, PASSWORD)).ok()
    other = server.client.with_token(session["access_token"])
    (await other.put(profile, body)).refused(403, "M_USER_SUSPENDED")
    (await other.post("/_matrix/client/v3/logout")).ok()
    (await root.put(SUSPEND + ALICE, {"suspended": False})).ok()
    (await alice.put(profile, body)).ok()


@pytest.mark.parametrize("path", ["/_matrix/client/v3/admin/whois/", "/_synapse/admin/v1/whois/"])
async def test_who_is(server: Server, root: Client, alice: Client, path: str) -> None:
    agent = {"User-Agent": "test agent"}
    (await alice.get(WHOAMI, headers=agent)).ok()
    (await server.client.post(LOGIN, {**PASSWORD, "device_id": "NEW"}, headers=agent)).ok()
    await server.database.write(lambda tx: devices.ensure(tx, ALICE, "UNSEEN", None))
    connection: dict[str, Any] = {
        "ip": "127.0.0.1",
        "last_seen": server.clock.now_ms(),
        "user_agent": "test agent",
    }
    found = (await root.get(path + ALICE)).ok()
    assert found == {
        "user_id": ALICE,
        "devices": {
            alice.device_id: {"sessions": [{"connections": [connection]}]},
            "NEW": {"sessions": [{"connections": [connection]}]},
            "UNSEEN": {"sessions": [{"connections": []}]},
        },
    }
    assert (await alice.get(path + ALICE)).ok()["user_id"] == ALICE
    (await alice.get(path + root.user_id)).refused(403, "M_FORBIDDEN")
    (await alice.get(path + NOBODY)).refused(403, "M_FORBIDDEN")
    (await root.get(path + NOBODY)).refused(404, "M_NOT_FOUND")
    (await root.get(path + ELSEWHERE)).refused(400, "M_INVALID_PARAM")


async def test_administrators_are_told_that_they_can_moderate(root: Client, alice: Client) -> None:
    path = "/_matrix/client/v3/capabilities"
    moderation = (await root.get(path)).ok()["capabilities"]["m.account_moderation"]
    assert moderation == {"suspend": True, "lock": True}
    assert "m.account_moderation" not in (await alice.get(path)).ok()["capabilities"]
