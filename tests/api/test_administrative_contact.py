"""Transcripts: third-party identifiers, on a server that can verify none.

Spec: https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Server, StartServer

V3 = "/_matrix/client/v3"
EMAIL = {"client_secret": "monkeys_are_GREAT", "email": "alice@example.org", "send_attempt": 1}
PHONE = {
    "client_secret": "monkeys_are_GREAT",
    "country": "GB",
    "phone_number": "07700900001",
    "send_attempt": 1,
}
NOT_SUPPORTED, NOT_FOUND = "M_THREEPID_MEDIUM_NOT_SUPPORTED", "M_THREEPID_NOT_FOUND"


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server without limits."""
    return await start_server(rc_3pid_validation={"per_second": 1000, "burst_count": 1000})


@pytest.mark.parametrize(
    ("path", "errcode"),
    [("account/3pid", NOT_SUPPORTED), ("register", NOT_SUPPORTED), ("account/password", NOT_FOUND)],
)
async def test_messages_that_are_not_sent(server: Server, path: str, errcode: str) -> None:
    for medium, body in (("email", EMAIL), ("msisdn", PHONE)):
        target = f"{V3}/{path}/{medium}/requestToken"
        (await server.client.post(target, body)).refused(400, errcode)
        trusted = {**body, "id_server": "id.example.org", "id_access_token": "x"}
        (await server.client.post(target, trusted)).refused(400, "M_SERVER_NOT_TRUSTED")
        for secret in ("", "ä", "x" * 256, "a b"):
            (await server.client.post(target, {**body, "client_secret": secret})).refused(
                400, "M_INVALID_PARAM"
            )
        for key in body:
            without = {name: value for name, value in body.items() if name != key}
            (await server.client.post(target, without)).refused(400, "M_BAD_JSON")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("email", {**EMAIL, "email": "alice"}),
        ("email", {**EMAIL, "email": f"{'x' * 256}@b"}),
        ("msisdn", {**PHONE, "country": "gb"}),
        ("msisdn", {**PHONE, "phone_number": "call me"}),
    ]
    for medium, body in wrong:
        answer = await server.client.post(f"{V3}/{path}/{medium}/requestToken", body)
        answer.refused(400, "M_INVALID_PARAM")


async def test_requests_are_limited(start_server: StartServer) -> None:
    server = await start_server(rc_3pid_validation={"per_second": 0.1, "burst_count": 1})
    (await server.client.post(f"{V3}/account/3pid/email/requestToken", EMAIL)).refused(400, NOT_SUPPORTED)
    answer = await server.client.post(f"{V3}/account/password/msisdn/requestToken", PHONE)
    assert answer.refused(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] == 10_000


async def test_closed_registration_verifies_nothing(start_server: StartServer) -> None:
    server = await start_server(enable_registration=False)
    (await server.client.post(f"{V3}/register/email/requestToken", EMAIL)).refused(403, "M_FORBIDDEN")
    (await server.client.post(f"{V3}/register/msisdn/requestToken", PHONE)).refused(403, "M_FORBIDDEN")


async def test_the_account_has_no_identifiers(server: Server) -> None:
    alice = await server.user("alice")
    assert (await alice.get(f"{V3}/account/3pid")).ok() == {"threepids": []}
    identifier = {"medium": "email", "address": "alice@example.org"}
    for path in ("delete", "unbind"):
        target = f"{V3}/account/3pid/{path}"
        answers = [
            await alice.post(target, identifier),
            await alice.post(target, {**identifier, "id_server": "x"}),
        ]
        assert [answer.ok() for answer in answers] == [{"id_server_unbind_result": "no-support"}] * 2
        (await alice.post(target, {"medium": "pigeon", "address": "x"})).refused(400, "M_BAD_JSON")
        (await alice.post(target, {"medium": "email"})).refused(400, "M_BAD_JSON")
        (await server.client.post(target, identifier)).refused(401, "M_MISSING_TOKEN")
    capabilities = (await alice.get(f"{V3}/capabilities")).ok()["capabilities"]
    assert capabilities["m.3pid_changes"] == {"enabled": False}
    assert capabilities["m.change_password"] == {"enabled": True}


async def test_none_can_be_added(server: Server) -> None:
    alice = await server.user("alice")
    session = {"client_secret": "d0nt-T3ll", "sid": "abc123987"}
    assert (await alice.post(f"{V3}/account/3pid/add", session)).status == 401
    auth = {"type": "m.login.password", "password": "the password"}
    (await alice.post(f"{V3}/account/3pid/add", {**session, "auth": auth})).refused(
        400, "M_THREEPID_AUTH_FAILED"
    )
    bad = {**session, "sid": "a b"}
    (await alice.post(f"{V3}/account/3pid/add", bad)).refused(400, "M_INVALID_PARAM")
    bound = {**session, "id_server": "example.org", "id_access_token": "abc123_OpaqueString"}
    (await alice.post(f"{V3}/account/3pid/bind", bound)).refused(400, "M_SERVER_NOT_TRUSTED")
    (await alice.post(f"{V3}/account/3pid/bind", {**bound, "sid": ""})).refused(400, "M_INVALID_PARAM")
    (await alice.post(f"{V3}/account/3pid", {"three_pid_creds": bound})).refused(
        403, "M_THREEPID_AUTH_FAILED"
    )
    for path in ("/add", "/bind", ""):
        (await alice.post(f"{V3}/account/3pid{path}", {})).refused(400, "M_BAD_JSON")
