"""Transcripts: refresh tokens, and how long sessions last.

Spec: https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
"""

from __future__ import annotations

from typing import Any

from tests.support.client import Client

from .conftest import Server, StartServer

REFRESH = "/_matrix/client/v3/refresh"
LOGIN = "/_matrix/client/v3/login"
REGISTER = "/_matrix/client/v3/register"
WHOAMI = "/_matrix/client/v3/account/whoami"
MINUTE = 60


async def log_in(server: Server, **how: Any) -> dict[str, Any]:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
    answer = await server.client.post(
        LOGIN, {**body, "password": "the password", "device_id": "PHONE", **how}
    )
    tokens: dict[str, Any] = answer.ok()
    return tokens


async def refresh(server: Server, tokens: dict[str, Any]) -> dict[str, Any]:
    answer = await server.client.post(REFRESH, {"refresh_token": tokens["refresh_token"]})
    fresh: dict[str, Any] = answer.ok()
    return fresh


def client(server: Server, tokens: dict[str, Any]) -> Client:
    return server.client.with_token(tokens["access_token"])


async def test_a_life_of_tokens(server: Server) -> None:
    await server.user("alice")
    first = await log_in(server, refresh_token=True)
    assert first.keys() == {"user_id", "device_id", "access_token", "refresh_token", "expires_in_ms"}
    assert first["expires_in_ms"] == 5 * MINUTE * 1000
    (await client(server, first).get(WHOAMI)).ok()
    server.clock.seconds += 5 * MINUTE
    expired = (await client(server, first).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    assert expired["soft_logout"] is True
    second = await refresh(server, first)
    assert second.keys() == {"access_token", "refresh_token", "expires_in_ms"}
    assert (await client(server, second).get(WHOAMI)).ok()["device_id"] == "PHONE"


async def test_the_old_tokens_are_good_until_a_new_one_is_used(server: Server) -> None:
    await server.user("alice")
    first = await log_in(server, refresh_token=True)
    lost = await refresh(server, first)
    # The answer has not reached the client: it goes on with what it has.
    (await client(server, first).get(WHOAMI)).ok()
    second = await refresh(server, first)
    (await client(server, lost).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    (await client(server, second).get(WHOAMI)).ok()
    used = await server.client.post(REFRESH, {"refresh_token": first["refresh_token"]})
    assert used.refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True
    (await client(server, first).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    # The new refresh token is used before its access token.
    third = await refresh(server, second)
    fourth = await refresh(server, third)
    (await client(server, second).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    (await client(server, fourth).get(WHOAMI)).ok()


async def test_what_is_no_refresh_token(server: Server) -> None:
    unknown = (await server.client.post(REFRESH, {"refresh_token": "x"})).refused(401, "M_UNKNOWN_TOKEN")
    assert unknown["soft_logout"] is False
    (await server.client.post(REFRESH, {})).refused(400, "M_BAD_JSON")
    (await server.client.post(REFRESH, {"refresh_token": 7})).refused(400, "M_BAD_JSON")
    alice = await server.user("alice")
    (await server.client.post(REFRESH, {"refresh_token": alice.access_token})).refused(401, "M_UNKNOWN_TOKEN")


async def test_who_logs_out_or_in_again_cannot_refresh(server: Server) -> None:
    await server.user("alice")
    tokens = await log_in(server, refresh_token=True)
    again = await log_in(server, refresh_token=True)
    (await server.client.post(REFRESH, {"refresh_token": tokens["refresh_token"]})).refused(
        401, "M_UNKNOWN_TOKEN"
    )
    (await client(server, again).post("/_matrix/client/v3/logout")).ok()
    (await server.client.post(REFRESH, {"refresh_token": again["refresh_token"]})).refused(
        401, "M_UNKNOWN_TOKEN"
    )


async def test_a_client_that_does_not_know_of_it(server: Server) -> None:
    await server.user("alice")
    for tokens in (await log_in(server), await log_in(server, refresh_token=False)):
        assert tokens.keys() == {"user_id", "device_id", "access_token"}
    server.clock.seconds += 365 * 24 * 60 * MINUTE
    (await client(server, tokens).get(WHOAMI)).ok()


async def test_registration_gives_a_refresh_token(server: Server) -> None:
    body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}, "refresh_token": True}
    tokens = (await server.client.post(REGISTER, body)).ok()
    assert tokens["expires_in_ms"] == 5 * MINUTE * 1000
    (await client(server, await refresh(server, tokens)).get(WHOAMI)).ok()


async def test_the_lifetimes_of_the_settings(start_server: StartServer) -> None:
    server = await start_server(
        refreshable_access_token_lifetime="1m",
        refresh_token_lifetime="10m",
        nonrefreshable_access_token_lifetime="20m",
    )
    await server.user("alice")
    tokens = await log_in(server, refresh_token=True)
    assert tokens["expires_in_ms"] == MINUTE * 1000
    for _ in range(3):
        server.clock.seconds += 10 * MINUTE - 1
        tokens = await refresh(server, tokens)
    server.clock.seconds += 10 * MINUTE
    late = await server.client.post(REFRESH, {"refresh_token": tokens["refresh_token"]})
    assert late.refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True

    tokens = await log_in(server)
    assert tokens["expires_in_ms"] == 20 * MINUTE * 1000 and "refresh_token" not in tokens
    (await client(server, tokens).get(WHOAMI)).ok()
    server.clock.seconds += 20 * MINUTE
    assert (await client(server, tokens).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True
    # "the client can acquire a new access token by specifying the device ID it is already using to the login API"
    assert (await log_in(server))["device_id"] == "PHONE"


async def test_a_session_ends_however_often_it_is_refreshed(start_server: StartServer) -> None:
    server = await start_server(session_lifetime="8m")
    await server.user("alice")
    tokens = await log_in(server, refresh_token=True)
    server.clock.seconds += 4 * MINUTE
    tokens = await refresh(server, tokens)
    assert tokens["expires_in_ms"] == 4 * MINUTE * 1000
    server.clock.seconds += 4 * MINUTE
    (await client(server, tokens).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    late = await server.client.post(REFRESH, {"refresh_token": tokens["refresh_token"]})
    assert late.refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True
    assert (await log_in(server))["expires_in_ms"] == 8 * MINUTE * 1000
