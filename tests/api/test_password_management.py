"""Transcripts: changing the password.

Spec: https://spec.matrix.org/v1.19/client-server-api/#password-management
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Answer, Client

from .conftest import Server, StartServer

CHANGE = "/_matrix/client/v3/account/password"
LOGIN = "/_matrix/client/v3/login"
WHOAMI = "/_matrix/client/v3/account/whoami"
AUTH = {"type": "m.login.password", "password": "the password"}
NEW = {"new_password": "another password"}


async def log_in(server: Server, password: str) -> Answer:
    body = {"type": "m.login.password", "user": "alice", "password": password}
    return await server.client.post(LOGIN, body)


async def another_device(server: Server) -> Client:
    return server.client.with_token((await log_in(server, "the password")).ok()["access_token"])


@pytest.mark.parametrize("logout", [None, True, False])
async def test_changing_the_password(server: Server, logout: bool | None) -> None:
    alice = await server.user("alice")
    other = await another_device(server)
    body: dict[str, Any] = NEW if logout is None else {**NEW, "logout_devices": logout}
    answer = await alice.post(CHANGE, body)
    assert answer.status == 401 and answer.body["flows"] == [{"stages": ["m.login.password"]}]
    (await log_in(server, "the password")).ok()
    auth = {**AUTH, "session": answer.body["session"]}
    assert (await alice.post(CHANGE, {**body, "auth": auth})).ok() == {}
    (await log_in(server, "the password")).refused(403, "M_FORBIDDEN")
    (await log_in(server, "another password")).ok()
    # "The homeserver SHOULD NOT revoke the access token provided in the request."
    (await alice.get(WHOAMI)).ok()
    if logout is False:
        (await other.get(WHOAMI)).ok()
    else:
        assert (await other.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is False


async def test_a_session_is_for_one_new_password(server: Server) -> None:
    alice = await server.user("alice")
    session = (await alice.post(CHANGE, NEW)).body["session"]
    changed = {"new_password": "a third one", "auth": {**AUTH, "session": session, "password": "wrong"}}
    assert (await alice.post(CHANGE, changed)).body["session"] != session


async def test_without_a_token_the_old_password_says_who_it_is(server: Server) -> None:
    alice = await server.user("alice")
    (await server.client.post(CHANGE, {**NEW, "auth": AUTH})).refused(401, "M_MISSING_PARAM")
    auth = {**AUTH, "identifier": {"type": "m.id.user", "user": "alice"}}
    wrong = {**auth, "password": "wrong"}
    (await server.client.post(CHANGE, {**NEW, "auth": wrong})).refused(401, "M_FORBIDDEN")
    assert (await server.client.post(CHANGE, {**NEW, "auth": auth})).ok() == {}
    (await log_in(server, "another password")).ok()
    (await alice.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_BAD_JSON"),
        ({"new_password": 1}, "M_BAD_JSON"),
        ({"new_password": ""}, "M_INVALID_PARAM"),
        ({"new_password": "x" * 513}, "M_INVALID_PARAM"),
        ({**NEW, "logout_devices": "no"}, "M_BAD_JSON"),
    ],
)
async def test_what_is_no_new_password(server: Server, body: dict[str, Any], errcode: str) -> None:
    alice = await server.user("alice")
    (await alice.post(CHANGE, {**body, "auth": AUTH})).refused(400, errcode)


async def test_guesses_are_limited(start_server: StartServer) -> None:
    unlimited = {"per_second": 1000, "burst_count": 1000}
    failed = {"per_second": 0.1, "burst_count": 2}
    server = await start_server(
        rc_login={"address": unlimited, "account": unlimited, "failed_attempts": failed}
    )
    alice = await server.user("alice")
    wrong = {**NEW, "auth": {**AUTH, "password": "wrong"}}
    for _ in range(2):
        (await alice.post(CHANGE, wrong)).refused(401, "M_FORBIDDEN")
    answer = await alice.post(CHANGE, {**NEW, "auth": AUTH})
    assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 10_000
    assert answer.headers["Retry-After"] == "10"


async def test_an_unknown_access_token(server: Server) -> None:
    (await server.client.with_token("x").post(CHANGE, NEW)).refused(401, "M_UNKNOWN_TOKEN")
