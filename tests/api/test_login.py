"""Transcripts: login, logout, whoami.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from tests.support.client import Client

from .conftest import Server, StartServer

LOGIN = "/_matrix/client/v3/login"
WHOAMI = "/_matrix/client/v3/account/whoami"


def with_password(user: str = "alice", password: str = "the password", **more: Any) -> dict[str, Any]:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        **more,
    }


async def test_the_flows(server: Server) -> None:
    assert (await server.client.get(LOGIN)).ok() == {"flows": [{"type": "m.login.password"}]}


@pytest.mark.parametrize("user", ["alice", "@alice:ours.test", "Alice"])
async def test_a_login(server: Server, user: str) -> None:
    await server.user("alice")
    answer = (await server.client.post(LOGIN, with_password(user, device_id="PHONE"))).ok()
    assert answer == {
        "user_id": "@alice:ours.test",
        "access_token": answer["access_token"],
        "device_id": "PHONE",
    }
    alice = server.client.with_token(answer["access_token"])
    assert (await alice.get(WHOAMI)).ok()["device_id"] == "PHONE"


async def test_the_deprecated_form(server: Server) -> None:
    await server.user("alice")
    body = {"type": "m.login.password", "user": "@alice:ours.test", "password": "the password"}
    answer = (await server.client.post("/_matrix/client/r0/login", body)).ok()
    assert answer["user_id"] == "@alice:ours.test"


async def test_a_device_id_is_made_and_differs(server: Server) -> None:
    await server.user("alice")
    answers = [(await server.client.post(LOGIN, with_password())).ok() for _ in range(2)]
    assert answers[0]["device_id"] != answers[1]["device_id"]
    for answer in answers:
        (await server.client.with_token(answer["access_token"]).get(WHOAMI)).ok()


async def test_a_second_login_of_a_device_ends_the_first(server: Server) -> None:
    await server.user("alice")
    first = (await server.client.post(LOGIN, with_password(device_id="PHONE"))).ok()["access_token"]
    (await server.client.with_token(first).get(WHOAMI)).ok()
    second = (await server.client.post(LOGIN, with_password(device_id="PHONE"))).ok()["access_token"]
    (await server.client.with_token(first).get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    (await server.client.with_token(second).get(WHOAMI)).ok()


@pytest.mark.parametrize(
    "body",
    [
        with_password(password="wrong"),
        with_password(password=""),
        with_password("nobody"),
        with_password("@alice:elsewhere.test"),
        with_password("al\0ice"),
        with_password("no such form: \ud83e\udd37"),
    ],
)
async def test_a_failed_login_says_nothing_more(server: Server, body: dict[str, Any]) -> None:
    await server.user("alice")
    error = (await server.client.post(LOGIN, body)).refused(403, "M_FORBIDDEN")["error"]
    assert error == "Invalid username or password"


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"type": "m.login.token", "token": "x"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.password"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.user"}}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "user": "alice"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.new"}}, 400, "M_BAD_JSON"),
        (
            {"type": "m.login.password", "identifier": {"medium": "email", "address": "a@b"}},
            403,
            "M_FORBIDDEN",
        ),
        (
            {"type": "m.login.password", "identifier": {"type": "m.id.phone", "phone": "1"}, "password": "x"},
            403,
            "M_FORBIDDEN",
        ),
        (
            {"type": "m.login.password", "medium": "email", "address": "a@b", "password": "x"},
            403,
            "M_FORBIDDEN",
        ),
        ({}, 400, "M_BAD_JSON"),
        (with_password(device_id=""), 400, "M_INVALID_PARAM"),
        (with_password(password=5), 400, "M_BAD_JSON"),
    ],
)
async def test_what_is_not_a_login(server: Server, body: dict[str, Any], status: int, errcode: str) -> None:
    await server.user("alice")
    (await server.client.post(LOGIN, body)).refused(status, errcode)


async def test_a_deactivated_account(server: Server) -> None:
    alice = await server.user("alice")
    await server.database.write(
        lambda tx: tx.execute(
            "UPDATE users SET is_deactivated = true, password_hash = NULL WHERE user_id = $1", alice.user_id
        )
    )
    (await server.client.post(LOGIN, with_password())).refused(403, "M_USER_DEACTIVATED")
    (await alice.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")


async def test_the_limit_by_address(start_server: StartServer) -> None:
    server = await start_server(rc_login={"address": {"per_second": 0.5, "burst_count": 2}})
    await server.user("alice")
    for _ in range(2):
        (await server.client.post(LOGIN, with_password())).ok()
    (await server.client.post(LOGIN, with_password())).refused(429, "M_LIMIT_EXCEEDED")
    server.clock.seconds += 2
    (await server.client.post(LOGIN, with_password())).ok()


@pytest.mark.parametrize("user", ["alice", "nobody"])
async def test_the_limit_of_failures(start_server: StartServer, user: str) -> None:
    unlimited = {"per_second": 1000, "burst_count": 1000}
    failed = {"per_second": 0.1, "burst_count": 2}
    server = await start_server(
        rc_login={"address": unlimited, "account": unlimited, "failed_attempts": failed}
    )
    await server.user("alice")
    for _ in range(2):
        (await server.client.post(LOGIN, with_password(user, "wrong"))).refused(403, "M_FORBIDDEN")
    # The right password too is refused now: otherwise guessing could go on.
    answer = await server.client.post(LOGIN, with_password(user))
    assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 10_000
    answer = await server.client.post(LOGIN, with_password(f"@{user}:ours.test"))
    answer.refused(429, "M_LIMIT_EXCEEDED")


async def test_guesses_made_at_the_same_time_count(start_server: StartServer) -> None:
    unlimited = {"per_second": 1000, "burst_count": 1000}
    failed = {"per_second": 0.1, "burst_count": 3}
    server = await start_server(
        rc_login={"address": unlimited, "account": unlimited, "failed_attempts": failed}
    )
    await server.user("alice")
    guesses = [server.client.post(LOGIN, with_password(password=f"guess {n}")) for n in range(20)]
    statuses = [answer.status for answer in await asyncio.gather(*guesses)]
    assert sorted(statuses) == [403] * 3 + [429] * 17
    # Logins that succeed use nothing up.
    server.clock.seconds += 30
    for _ in range(5):
        (await server.client.post(LOGIN, with_password())).ok()


async def test_the_limit_by_account(start_server: StartServer) -> None:
    unlimited = {"per_second": 1000, "burst_count": 1000}
    server = await start_server(
        rc_login={"address": unlimited, "account": {"per_second": 0.1, "burst_count": 1}}
    )
    await server.user("alice")
    await server.user("bob")
    (await server.client.post(LOGIN, with_password())).ok()
    (await server.client.post(LOGIN, with_password())).refused(429, "M_LIMIT_EXCEEDED")
    (await server.client.post(LOGIN, with_password("bob"))).ok()


async def another_device(server: Server) -> Client:
    answer = (await server.client.post(LOGIN, with_password())).ok()
    return server.client.with_token(answer["access_token"])


async def test_logout(server: Server) -> None:
    phone = await server.user("alice")
    laptop = await another_device(server)
    (await phone.get(WHOAMI)).ok()
    assert (await phone.post("/_matrix/client/v3/logout")).ok() == {}
    assert (await phone.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")["soft_logout"] is False
    (await phone.post("/_matrix/client/v3/logout")).refused(401, "M_UNKNOWN_TOKEN")
    (await laptop.get(WHOAMI)).ok()
    (await server.client.post("/_matrix/client/v3/logout")).refused(401, "M_MISSING_TOKEN")


async def test_logout_all(server: Server) -> None:
    phone = await server.user("alice")
    laptop = await another_device(server)
    bob = await server.user("bob")
    for client in (phone, laptop, bob):
        (await client.get(WHOAMI)).ok()
    assert (await phone.post("/_matrix/client/v3/logout/all")).ok() == {}
    for client in (phone, laptop):
        (await client.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    (await bob.get(WHOAMI)).ok()


async def test_whoami_needs_a_token(server: Server) -> None:
    (await server.client.get(WHOAMI)).refused(401, "M_MISSING_TOKEN")
    (await server.client.with_token("nobodys").get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")


async def test_neither_tokens_nor_passwords_are_stored(server: Server) -> None:
    await server.user("alice")
    token = (await server.client.post(LOGIN, with_password())).ok()["access_token"]
    with sqlite3.connect(server.settings.storage.database.args["database"]) as connection:
        dump = "\n".join(connection.iterdump())
    assert "@alice:ours.test" in dump and "$argon2id$" in dump
    assert token not in dump and "the password" not in dump
