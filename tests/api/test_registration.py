"""Transcripts: registration.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Server, StartServer

REGISTER = "/_matrix/client/v3/register"
AVAILABLE = "/_matrix/client/v3/register/available?username="
ALICE = {"username": "alice", "password": "wonderland"}
DUMMY = {"type": "m.login.dummy"}


async def test_the_flow_of_the_specification(server: Server) -> None:
    answer = await server.client.post(REGISTER, {})
    assert answer.status == 401
    session = answer.body["session"]
    assert answer.body == {"flows": [{"stages": ["m.login.dummy"]}], "params": {}, "session": session}

    body = {**ALICE, "device_id": "PHONE", "initial_device_display_name": "Alice's phone"}
    answer = await server.client.post(REGISTER, {**body, "auth": {**DUMMY, "session": session}})
    registered = answer.ok()
    assert registered == {
        "user_id": "@alice:ours.test",
        "access_token": registered["access_token"],
        "device_id": "PHONE",
    }
    alice = server.client.with_token(registered["access_token"])
    whoami = (await alice.get("/_matrix/client/v3/account/whoami")).ok()
    assert whoami == {"user_id": "@alice:ours.test", "device_id": "PHONE", "is_guest": False}


async def test_the_localpart_is_the_display_name(server: Server) -> None:
    for username, expected in (("alice", "alice"), ("Bob", "bob"), (None, None)):
        body = {"password": "x", "auth": DUMMY} | ({} if username is None else {"username": username})
        user_id = (await server.client.post(REGISTER, body)).ok()["user_id"]
        profile = (await server.client.get(f"/_matrix/client/v3/profile/{user_id}")).ok()
        assert profile == {"displayname": expected or user_id[1:].partition(":")[0]}


async def test_a_registration_that_fails_leaves_the_name_that_is_there(server: Server) -> None:
    alice = await server.user("alice")
    profile = "/_matrix/client/v3/profile/@alice:ours.test"
    (await alice.put(f"{profile}/displayname", {"displayname": "Alice"})).ok()
    (await server.client.post(REGISTER, {**ALICE, "auth": DUMMY})).refused(400, "M_USER_IN_USE")
    assert (await server.client.get(profile)).ok() == {"displayname": "Alice"}


async def test_a_client_may_authenticate_in_its_first_request(server: Server) -> None:
    registered = (await server.client.post(REGISTER, {**ALICE, "auth": DUMMY})).ok()
    assert registered["user_id"] == "@alice:ours.test" and registered["device_id"]


async def test_without_a_username_one_is_made(server: Server) -> None:
    registered = (await server.client.post(REGISTER, {"password": "x", "auth": DUMMY})).ok()
    assert registered["user_id"].startswith("@") and registered["user_id"].endswith(":ours.test")


async def test_inhibit_login(server: Server) -> None:
    answer = await server.client.post(REGISTER, {**ALICE, "auth": DUMMY, "inhibit_login": True})
    assert answer.ok() == {"user_id": "@alice:ours.test"}


async def test_capital_letters_become_small(server: Server) -> None:
    answer = await server.client.post(REGISTER, {**ALICE, "username": "Alice", "auth": DUMMY})
    assert answer.ok()["user_id"] == "@alice:ours.test"
    (await server.client.get(AVAILABLE + "ALICE")).refused(400, "M_USER_IN_USE")


@pytest.mark.parametrize("name", ["al ice", "@alice:ours.test", "älice", "alice\0", "", "a" * 300, "alice#"])
async def test_an_invalid_username_is_refused_before_authentication(server: Server, name: str) -> None:
    (await server.client.post(REGISTER, {**ALICE, "username": name})).refused(400, "M_INVALID_USERNAME")


async def test_a_taken_username_is_refused_before_authentication(server: Server) -> None:
    await server.user("alice")
    (await server.client.post(REGISTER, ALICE)).refused(400, "M_USER_IN_USE")


async def test_a_name_taken_during_authentication(server: Server) -> None:
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    await server.user("alice")
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {**DUMMY, "session": session}})
    answer.refused(400, "M_USER_IN_USE")


async def test_the_password_is_needed_in_the_end(server: Server) -> None:
    assert (await server.client.post(REGISTER, {"username": "alice"})).status == 401
    answer = await server.client.post(REGISTER, {"username": "alice", "auth": DUMMY})
    answer.refused(400, "M_MISSING_PARAM")
    for password in ("", "x" * 513):
        answer = await server.client.post(REGISTER, {**ALICE, "password": password})
        answer.refused(400, "M_INVALID_PARAM")


async def test_authentication_that_is_not_offered(server: Server) -> None:
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {"type": "m.login.recaptcha"}})
    answer.refused(401, "M_UNRECOGNIZED")
    assert answer.body["flows"] == [{"stages": ["m.login.dummy"]}] and answer.body["session"]
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {"type": 7}})
    answer.refused(401, "M_UNRECOGNIZED")
    (await server.client.post(REGISTER, {**ALICE, "auth": "dummy"})).refused(400, "M_BAD_JSON")


async def test_a_session_alone_proves_nothing(server: Server) -> None:
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {"session": session}})
    assert answer.status == 401 and answer.body["session"] == session
    assert "errcode" not in answer.body


async def test_a_session_ends(server: Server) -> None:
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    server.clock.seconds += 3600
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {"session": session}})
    assert answer.status == 401 and answer.body["session"] != session


async def test_guests_are_refused(server: Server) -> None:
    (await server.client.post(REGISTER + "?kind=guest", {})).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
    (await server.client.post(REGISTER + "?kind=robot", {})).refused(400, "M_INVALID_PARAM")
    assert (await server.client.post(REGISTER + "?kind=user", {})).status == 401


async def test_disabled_registration(start_server: StartServer) -> None:
    server = await start_server(enable_registration=False)
    (await server.client.post(REGISTER, {})).refused(403, "M_FORBIDDEN")
    (await server.client.get(AVAILABLE + "alice")).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "body", [{"username": 1}, {"password": []}, {"device_id": 3}, {"inhibit_login": "yes"}, {"auth": []}]
)
async def test_wrong_types(server: Server, body: dict[str, Any]) -> None:
    error = (await server.client.post(REGISTER, body)).refused(400, "M_BAD_JSON")["error"]
    assert f"$.{next(iter(body))}" in error


@pytest.mark.parametrize("device_id", ["", "x" * 256, "a\0b"])
async def test_a_device_id_must_be_one(server: Server, device_id: str) -> None:
    answer = await server.client.post(REGISTER, {**ALICE, "device_id": device_id, "auth": DUMMY})
    answer.refused(400, "M_INVALID_PARAM")
    # Nothing was registered.
    (await server.client.get(AVAILABLE + "alice")).ok()


async def test_availability(server: Server) -> None:
    assert (await server.client.get(AVAILABLE + "alice")).ok() == {"available": True}
    await server.user("alice")
    (await server.client.get(AVAILABLE + "alice")).refused(400, "M_USER_IN_USE")
    (await server.client.get(AVAILABLE + "al%20ice")).refused(400, "M_INVALID_USERNAME")
    (await server.client.get("/_matrix/client/v3/register/available")).refused(400, "M_MISSING_PARAM")


async def test_limits(start_server: StartServer) -> None:
    server = await start_server(rc_registration={"per_second": 0.1, "burst_count": 1})
    (await server.client.post(REGISTER, {**ALICE, "auth": DUMMY})).ok()
    answer = await server.client.post(REGISTER, {**ALICE, "username": "bob", "auth": DUMMY})
    assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 10_000
    assert answer.headers["Retry-After"] == "10"
    server.clock.seconds += 10
    (await server.client.post(REGISTER, {**ALICE, "username": "bob", "auth": DUMMY})).ok()
    for _ in range(20):
        (await server.client.get(AVAILABLE + "carol")).ok()
    (await server.client.get(AVAILABLE + "carol")).refused(429, "M_LIMIT_EXCEEDED")
