"""Transcripts: one client logs in another.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
"""

from __future__ import annotations

import pytest

from .conftest import Server, StartServer

GET_TOKEN = "/_matrix/client/v1/login/get_token"
LOGIN = "/_matrix/client/v3/login"
CAPABILITIES = "/_matrix/client/v3/capabilities"
AUTH = {"auth": {"type": "m.login.password", "password": "the password"}}


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server that gives out login tokens."""
    return await start_server(login_via_existing_session={"enabled": True, "token_timeout": "2m"})


async def test_a_token_logs_in_another_client_once(server: Server) -> None:
    flows = (await server.client.get(LOGIN)).ok()["flows"]
    assert {"type": "m.login.token", "get_login_token": True} in flows
    alice = await server.user("alice")
    capabilities = (await alice.get(CAPABILITIES)).ok()["capabilities"]
    assert capabilities["m.get_login_token"] == {"enabled": True}
    answer = await alice.post(GET_TOKEN)
    assert answer.status == 401 and answer.body["flows"] == [{"stages": ["m.login.password"]}]
    given = (await alice.post(GET_TOKEN, AUTH)).ok()
    assert given == {"login_token": given["login_token"], "expires_in_ms": 120_000}
    login = {"type": "m.login.token", "token": given["login_token"], "device_id": "TV"}
    session = (await server.client.post(LOGIN, {**login, "refresh_token": True})).ok()
    assert (session["user_id"], session["device_id"]) == ("@alice:ours.test", "TV")
    assert session["refresh_token"]
    (await server.client.post(LOGIN, login)).refused(403, "M_FORBIDDEN")
    (await alice.get("/_matrix/client/v3/account/whoami")).ok()


async def test_a_token_expires(server: Server) -> None:
    alice = await server.user("alice")
    token = (await alice.post(GET_TOKEN, AUTH)).ok()["login_token"]
    server.clock.seconds += 120
    (await server.client.post(LOGIN, {"type": "m.login.token", "token": token})).refused(403, "M_FORBIDDEN")


async def test_every_token_is_confirmed_anew_and_one_a_minute(server: Server) -> None:
    alice = await server.user("alice")
    session = (await alice.post(GET_TOKEN)).body["session"]
    (await alice.post(GET_TOKEN, {"auth": {**AUTH["auth"], "session": session}})).ok()
    answer = await alice.post(GET_TOKEN, {"auth": {"session": session}})
    assert answer.status == 401 and answer.body["session"] != session
    (await alice.post(GET_TOKEN, AUTH)).refused(429, "M_LIMIT_EXCEEDED")
    server.clock.seconds += 60
    (await alice.post(GET_TOKEN, AUTH)).ok()


async def test_a_changed_password_ends_what_was_given_out(server: Server) -> None:
    alice = await server.user("alice")
    token = (await alice.post(GET_TOKEN, AUTH)).ok()["login_token"]
    (await alice.post("/_matrix/client/v3/account/password", {"new_password": "x", **AUTH})).ok()
    (await server.client.post(LOGIN, {"type": "m.login.token", "token": token})).refused(403, "M_FORBIDDEN")


async def test_what_is_no_login_token(server: Server) -> None:
    (await server.client.post(LOGIN, {"type": "m.login.token"})).refused(400, "M_MISSING_PARAM")
    (await server.client.post(LOGIN, {"type": "m.login.token", "token": "x"})).refused(403, "M_FORBIDDEN")
    alice = await server.user("alice")
    openid = (await alice.post(f"/_matrix/client/v3/user/{alice.user_id}/openid/request_token")).ok()
    (await server.client.post(LOGIN, {"type": "m.login.token", "token": openid["access_token"]})).refused(
        403, "M_FORBIDDEN"
    )


async def test_without_confirmation(start_server: StartServer) -> None:
    server = await start_server(login_via_existing_session={"enabled": True, "require_ui_auth": False})
    alice = await server.user("alice")
    assert (await alice.post(GET_TOKEN)).ok()["expires_in_ms"] == 300_000


async def test_by_default_there_are_none(start_server: StartServer) -> None:
    server = await start_server()
    alice = await server.user("alice")
    (await alice.post(GET_TOKEN, AUTH)).refused(404, "M_UNRECOGNIZED")
    assert (await server.client.get(LOGIN)).ok() == {"flows": [{"type": "m.login.password"}]}
    (await server.client.post(LOGIN, {"type": "m.login.token", "token": "x"})).refused(400, "M_UNKNOWN")
    capabilities = (await alice.get(CAPABILITIES)).ok()["capabilities"]
    assert capabilities["m.get_login_token"] == {"enabled": False}
